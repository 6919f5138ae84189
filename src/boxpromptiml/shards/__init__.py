"""The cache between the two stages: a folder of shards, and the index that says they are all there.

``shard`` is the layout of one file and how it is read, ``writing`` how it is written, ``raw_chunks`` how its pixels are
read past HDF5; ``index`` is the folder, ``reader`` random access to its samples, ``maintenance`` the command
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
