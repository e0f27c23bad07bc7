"""The tensors of a model's files: which parameters they hold, and how a checkpoint gives them back.

Everything that compares or writes weights names them as the parent's files do, by this room's map.
"""
