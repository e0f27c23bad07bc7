"""What this floor tells the floors above it. Nobody here knows who listens."""

from django.dispatch import Signal

# batch_ready(sender, batch): a batch was read without a problem; sent after the commit.
batch_ready = Signal()
