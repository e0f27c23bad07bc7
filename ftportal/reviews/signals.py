"""What this floor tells the floors above it. Nobody here knows who listens."""

from django.dispatch import Signal

# spot_check_decided(sender, spot_check): it was approved or rejected; sent after the commit.
spot_check_decided = Signal()
