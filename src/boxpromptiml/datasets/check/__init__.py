"""Is a data set fit for training: files, sizes, boxes, masks, duplicates, leakage between splits, balance."""
