"""Data for training, validation and testing."""
