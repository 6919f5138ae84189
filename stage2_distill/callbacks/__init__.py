"""Callbacks that log a training run: pictures, throughput, W&B panels and artifacts."""
