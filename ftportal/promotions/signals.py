"""What this floor tells the floors above it. Nobody here knows who listens."""

from django.dispatch import Signal

# champion_changed(sender, language_model): an entry of its ledger names another champion, or the
# first; sent after the commit.
champion_changed = Signal()
