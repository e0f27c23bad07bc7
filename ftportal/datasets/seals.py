"""Seals of batches, held-out sets and prompts: what engines check before they read them."""

import hashlib
import json
from typing import Any

from engine.seals import Seal
from ftportal.datasets.models import Batch, HeldOutSet, Prompt


def batch_seals(batch: Batch) -> list[Seal]:
    """Of a batch's examples; none while they are still read."""
    if not batch.examples_sha256:
        return []
    path = str(batch.examples_path)
    return [Seal(what=f"batch {batch}", path=path, sha256=batch.examples_sha256)]


def source_seals(batch: Batch) -> list[Seal]:
    """Of the file as it was uploaded."""
    return [Seal(what=f"file of {batch}", path=str(batch.source_path), sha256=batch.sha256)]


def held_out_seals(held_out_set: HeldOutSet) -> list[Seal]:
    """Of a held-out set's documents."""
    path = str(held_out_set.path)
    return [Seal(what=f"held-out text {held_out_set}", path=path, sha256=held_out_set.sha256)]


def messages_sha256(messages: Any) -> str:
    """The hash by which a prompt's messages are known."""
    text = json.dumps(messages, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def is_as_sealed(prompt: Prompt) -> bool:
    """Whether a prompt still says what it said when it was made."""
    return messages_sha256(prompt.messages) == prompt.sha256
