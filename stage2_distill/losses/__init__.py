"""What the student learns from: the distillation loss and its terms."""
