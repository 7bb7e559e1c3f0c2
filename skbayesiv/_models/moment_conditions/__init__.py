"""The quasi-posterior of E[z e] = 0."""
