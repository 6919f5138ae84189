"""Studies of one thing at a time: the same run with and without it, over seeds, in one table and one figure."""
