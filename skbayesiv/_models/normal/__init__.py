"""Jointly normal errors."""
