"""The command ``check``: files, sizes, boxes, masks, duplicates, leakage between splits, class balance."""
