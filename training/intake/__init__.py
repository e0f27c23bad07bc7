"""Models that come in: fetched from the hub where one is named, and looked at before a session.

`python -m training.intake DIR` does the work; `training.config.intake` needs no torch.
"""
