"""The training engine: `python -m training RUN_DIR` fine-tunes one language model.

Stands alone (no Django). `training.config`, `training.events`, `training.conversations` and the
other modules without torch are all the portal may import.
"""
