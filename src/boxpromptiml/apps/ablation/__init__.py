"""Ablation studies: training runs that differ in one respect, over several seeds, in one table and one figure."""
