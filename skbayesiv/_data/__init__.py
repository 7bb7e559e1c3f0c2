"""Rows and frames -> the sums that a fit takes from them."""
