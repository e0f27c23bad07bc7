"""What this floor tells the floors above it. Nobody here knows who listens."""

from django.dispatch import Signal

# blend_succeeded(sender, blend): a blend has ended well and `blend.result` is its checkpoint. It
# may be sent again after a crash, so receivers are idempotent.
blend_succeeded = Signal()
