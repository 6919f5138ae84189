"""The student network: backbone, fusion module, branches, weights."""
