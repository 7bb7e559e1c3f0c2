"""The estimators, and what fits many at once."""
