"""Manifests from the folders that data sets come in."""
