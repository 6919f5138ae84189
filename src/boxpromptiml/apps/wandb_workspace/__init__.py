"""The command ``boxpromptiml workspace``: a saved view of a W&B project."""
