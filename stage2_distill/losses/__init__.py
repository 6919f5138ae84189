"""Training losses of the student."""
