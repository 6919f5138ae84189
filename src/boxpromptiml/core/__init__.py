"""Records, number ranges, boxes, text decoding and atomic file writing. Imports none of the other packages."""
