"""What a training run records while it runs: pictures, throughput, W&B panels and artifacts."""
