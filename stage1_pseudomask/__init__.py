"""Stage one: a frozen, box-prompted teacher turns coarse boxes into pseudo-masks, which are cached in HDF5 shards."""
