"""Samplers by name: the log density of a small vector -> draws."""
