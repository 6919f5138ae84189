"""What everything else is written in: records, limits of numbers, boxes, decoded text, whole files.

Imports nothing of ours.
"""
