"""The training engine: `python -m training RUN_DIR` fine-tunes one language model.

Stands alone (no Django). The portal may import what needs no torch: `training.config`,
`training.ahead` and `training.methods`.
"""
