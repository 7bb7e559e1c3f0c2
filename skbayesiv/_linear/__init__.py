"""Least squares, 2SLS, k-class and their covariances."""
