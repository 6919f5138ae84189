"""The command ``boxpromptiml cache``: look after what stage one made."""

from boxpromptiml.shards.maintenance.info import info
from boxpromptiml.shards.maintenance.merge import merge
from boxpromptiml.shards.maintenance.prune import prune
from boxpromptiml.shards.maintenance.verify import verify

COMMANDS = [verify, info, merge, prune]
"""Each is called as a word after ``cache``; its docstring is its help."""
