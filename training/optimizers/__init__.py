"""The optimizers of the methods, over parameter groups of our own."""
