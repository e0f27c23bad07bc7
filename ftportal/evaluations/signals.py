"""What this floor tells the floors above it. Nobody here knows who listens."""

from django.dispatch import Signal

# evaluation_measured(sender, evaluation): its scores and samples are stored; sent after the commit.
evaluation_measured = Signal()

# verdict_reached(sender, verdict): a candidate was judged against a baseline; after the commit.
verdict_reached = Signal()
