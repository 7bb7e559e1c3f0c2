"""What models are made of: the contract, priors, names, the box for draws."""
