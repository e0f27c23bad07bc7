"""What batches are held against for contamination: texts that measure, from every floor above too.

Floors above hand their texts down by registering a source; this floor knows none of them.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ftportal.accounts.sight import hidden_models
from ftportal.datasets.models import Batch, HeldOutSet, PromptSet

Source = Callable[[], Iterable[tuple[str, str]]]
"""Yields (name of the benchmark or set, text)."""
_sources: dict[str, Source] = {}


def register_source(name: str, source: Source) -> None:
    """Have every new batch held against the texts of a source."""
    _sources[name] = source


def slice_name(batch: Batch | str) -> str:
    """What reports call the examples that a batch has set aside."""
    return f"held-out examples of {batch}"


def names_shown(names: Sequence[str]) -> list[str]:
    """The names of texts in a report, in words that the person who looks may read."""
    hidden = hidden_models()
    if not hidden:
        return list(names)
    batches = Batch.objects.everything().filter(language_model__in=hidden)
    theirs = set(map(slice_name, batches))
    return [slice_name("a batch that you may not see") if one in theirs else one for one in names]


def references_write(path: Path) -> Path:
    """Write all texts that measure as JSON lines; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for source in (_held_out_texts, _prompt_texts, *_sources.values()):
            for name, text in source():
                file.write(json.dumps({"name": name, "text": text}) + "\n")
    return path


def _held_out_texts() -> Iterator[tuple[str, str]]:
    for held_out_set in HeldOutSet.objects.all():
        if held_out_set.path.is_file():
            with held_out_set.path.open(encoding="utf-8") as file:
                for line in file:
                    yield f"Held-out text {held_out_set}", json.loads(line)["text"]


def _prompt_texts() -> Iterator[tuple[str, str]]:
    for prompt_set in PromptSet.objects.prefetch_related("prompts"):
        for prompt in prompt_set.prompts.all():
            for message in prompt.messages:
                if message["role"] == "user":
                    yield f"Prompts {prompt_set}", message["content"]
