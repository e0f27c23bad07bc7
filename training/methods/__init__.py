"""How gradients become updates: our APOLLO, and the optimizers of every method."""
