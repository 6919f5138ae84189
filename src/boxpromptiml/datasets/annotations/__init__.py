"""Import and export of boxes from annotation tools: a module per format, and the two commands."""
