"""What this floor tells the floors above it. Nobody here knows who listens."""

from django.dispatch import Signal

# run_succeeded(sender, run): a run has ended well and `run.output` is its checkpoint. It may be
# sent again after a crash, so receivers are idempotent.
run_succeeded = Signal()
