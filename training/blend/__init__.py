"""Blends of two checkpoints: each weight a step of the way from the parent's to the candidate's.

`python -m training.blend DIR` does the work; `training.config.blend` needs no torch.
"""
