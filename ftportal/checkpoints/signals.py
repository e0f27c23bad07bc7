"""What this floor tells the floors above it. Nobody here knows who listens."""

from django.dispatch import Signal

# checkpoint_registered(sender, checkpoint): a new checkpoint is in place; sent after the commit.
checkpoint_registered = Signal()

# checkpoint_delete_asked(sender, checkpoint): may its files go? A receiver that still needs them
# returns the reason as a sentence ("Run X is training on it."); None means it has no objection.
checkpoint_delete_asked = Signal()

# alias_moved(sender, alias): it points at another checkpoint now; sent inside the transaction, so
# that whoever hangs on the champion changes with it.
alias_moved = Signal()
