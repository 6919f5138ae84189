"""The cache between the two stages: a folder of HDF5 shards and an index that marks it as complete.

``shard`` defines the layout of a file and reads it, ``writing`` writes it, ``raw_chunks`` reads its pixels without
HDF5; ``index`` handles the folder, ``reader`` provides random access to its samples, ``maintenance`` is the command
``boxpromptiml cache``.
"""

from boxpromptiml.shards.index import CacheIndex, ShardEntry, place_of, read_index, shard_paths, write_index
from boxpromptiml.shards.reader import ShardReader
from boxpromptiml.shards.shard import (
    AGAIN,
    REPAIR,
    SCHEMA,
    CacheError,
    DamageError,
    Shard,
    open_shard,
    opened,
    read_shard,
    salvage,
)
from boxpromptiml.shards.writing import write_shard

__all__ = [
    "AGAIN",
    "REPAIR",
    "SCHEMA",
    "CacheError",
    "CacheIndex",
    "DamageError",
    "Shard",
    "ShardEntry",
    "ShardReader",
    "open_shard",
    "opened",
    "place_of",
    "read_index",
    "read_shard",
    "salvage",
    "shard_paths",
    "write_index",
    "write_shard",
]
