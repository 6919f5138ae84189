"""The student network: backbone, fusion module, optional branches, weights."""
