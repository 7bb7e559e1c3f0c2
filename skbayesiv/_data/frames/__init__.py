"""Sums over any data frame, computed in one pass by the engine that holds it."""
