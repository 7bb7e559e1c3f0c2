"""Rows, frames and sums: what a fit takes from the data."""
