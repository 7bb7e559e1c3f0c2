"""Draws -> a tree with names, checks and predictions."""
