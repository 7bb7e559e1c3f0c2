"""Draws -> trees, checks and predictions."""
