"""Stage two: a small prompt-free student learns from the pseudo-masks."""
