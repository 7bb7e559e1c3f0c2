"""Jointly normal errors, the coefficients integrated out."""
