"""Synthesis of forgeries from photos: splices, copy-moves and removals with exact masks."""
