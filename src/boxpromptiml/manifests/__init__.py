"""Manifests: COCO JSON that lists images, their splits and their coarse boxes."""
