"""The command ``boxpromptiml cache``: verification and editing of caches."""

from boxpromptiml.shards.maintenance.info import info
from boxpromptiml.shards.maintenance.merge import merge
from boxpromptiml.shards.maintenance.prune import prune
from boxpromptiml.shards.maintenance.verify import verify

COMMANDS = [verify, info, merge, prune]
"""Subcommands of ``cache``; their docstrings are their help."""
