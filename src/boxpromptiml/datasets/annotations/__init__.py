"""Boxes that people drew with annotation tools, in and out: one file for each format, and the two commands."""
