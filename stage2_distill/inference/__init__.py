"""Inference: a trained student on new photos, single or tiled, from Python, the command line or an export."""
