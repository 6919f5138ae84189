"""The command ``boxpromptiml cache``: look after what stage one made."""

from boxpromptiml.cache.info import info
from boxpromptiml.cache.merge import merge
from boxpromptiml.cache.prune import prune
from boxpromptiml.cache.verify import verify

COMMANDS = [verify, info, merge, prune]
"""Each is called as a word after ``cache``; its docstring is its help."""
