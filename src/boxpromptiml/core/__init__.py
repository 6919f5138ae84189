"""What everything else is written in: records, limits of numbers, boxes, decoded text. Imports nothing of ours."""
