"""Models: what is sampled, and exact draws of the rest."""
