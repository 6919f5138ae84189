"""A saved view of a W&B project: the command and the view."""
