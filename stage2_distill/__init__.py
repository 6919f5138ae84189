"""Stage two: distillation of the pseudo-masks into a small prompt-free student."""
