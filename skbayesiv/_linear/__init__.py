"""Linear algebra of the outcome's equation: least squares, 2SLS, covariances."""
