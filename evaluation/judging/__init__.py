"""What changed between two checkpoints, and whether a rule calls it forgotten.

No torch here: the portal judges with this package.
"""
