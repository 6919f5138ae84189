"""Image manipulation localization learned from coarse boxes.

The shared vocabulary of the two stages and the command line. Importing this package loads nothing heavy.
"""

__version__ = "0.1.0"
