"""Samplers: a log density of a small vector -> draws."""
