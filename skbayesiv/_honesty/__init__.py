"""Whether an interval is what it promises, asked of the data that it was computed from."""
