"""Manifests: COCO JSON files that list images with their splits and coarse boxes."""
