"""The models by name, built from sums and sampled."""
