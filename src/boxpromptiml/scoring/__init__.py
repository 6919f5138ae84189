"""Scoring of predictions: options, metrics, tables."""
