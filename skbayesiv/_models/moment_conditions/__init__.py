"""The quasi-posterior of E[z e] = 0, whatever the errors."""
