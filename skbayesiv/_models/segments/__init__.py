"""Effects of segments of the rows, which share a population."""
