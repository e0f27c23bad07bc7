"""Held-out sets and prompt sets: texts that measure and are never trained on."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.db import transaction

from ftportal.audit.services import record
from ftportal.checkpoints.models import ANSWER_TOKENS_MAX
from ftportal.datasets.models import (
    ANSWER_TOKENS,
    HeldOutSet,
    Prompt,
    PromptGroup,
    PromptSet,
    PromptSetKind,
)
from ftportal.datasets.seals import messages_sha256
from ftportal.datasets.services.errors import DatasetError
from ftportal.datasets.uploads import Kept, incoming_path

PROMPTS_MAX = 1000
"""Prompts of one set; even the strictest acceptance plan asks for fewer."""

DEFAULT_PROMPT_SET = "Three groups, twelve prompts"
_DEFAULT_PROMPTS = Path(__file__).parent.parent / "seed_prompts.json"


def held_out_set_create(
    *, name: str, domain: str, source: str, documents: Iterable[str]
) -> HeldOutSet:
    """Keep texts for perplexity, one document each; empty and repeated ones are left out.

    The same texts again give the set that is there. Raises DatasetError without any text, or when
    the name is taken by other texts.
    """
    partial = incoming_path("held_out")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        kept, count = _documents_write(documents, partial)
        if not count:
            raise DatasetError("There is no text in it.", "Give at least one document.")
        known = HeldOutSet.objects.filter(sha256=kept.sha256).first()
        if known is None and HeldOutSet.objects.filter(name=name).exists():
            raise DatasetError(f"There is a held-out set {name} with other texts.", "Rename it.")
        made = known or HeldOutSet(
            name=name,
            domain=domain,
            source=source,
            sha256=kept.sha256,
            document_count=count,
            size_bytes=kept.size_bytes,
        )
        partial.replace(made.path)
        if known is None:
            _held_out_keep(made)
        return made
    finally:
        partial.unlink(missing_ok=True)


@transaction.atomic
def _held_out_keep(made: HeldOutSet) -> None:
    made.full_clean()
    made.save()
    record("held_out.made", made, after={"sha256": made.sha256})


def _documents_write(documents: Iterable[str], target: Path) -> tuple[Kept, int]:
    """Write documents as JSON lines; the bytes counted are those of the texts alone."""
    seen: set[str] = set()
    whole, size_bytes = hashlib.sha256(), 0
    with target.open("wb") as stream:
        for text in documents:
            sha256 = hashlib.sha256(text.encode()).hexdigest()
            if not text.strip() or sha256 in seen:
                continue
            seen.add(sha256)
            size_bytes += len(text.encode())
            record = json.dumps({"text": text, "sha256": sha256}, ensure_ascii=False)
            line = f"{record}\n".encode()
            whole.update(line)
            stream.write(line)
        stream.flush()
        os.fsync(stream.fileno())
    return Kept(sha256=whole.hexdigest(), size_bytes=size_bytes), len(seen)


@transaction.atomic
def prompt_set_create(
    *,
    name: str,
    prompts: Sequence[Mapping[str, Any]],
    kind: str = PromptSetKind.CURATED,
    max_new_tokens: int = ANSWER_TOKENS,
) -> PromptSet:
    """Make a prompt set of {"group", "messages"} in this order; prompt sets never change.

    Every list of messages ends with the user's. Answers get up to `max_new_tokens` tokens. Raises
    DatasetError for what cannot be a prompt.
    """
    if not prompts:
        raise DatasetError("There is no prompt in it.", "Give at least one prompt.")
    if len(prompts) > PROMPTS_MAX:
        raise DatasetError(
            f"There are {len(prompts):,} prompts in it, more than {PROMPTS_MAX:,}.",
            "Take a sample of them at random: it carries the same claim.",
        )
    if PromptSet.objects.filter(name=name).exists():
        raise DatasetError(f"There is a prompt set {name} already.", "Choose another name.")
    if not 1 <= max_new_tokens <= ANSWER_TOKENS_MAX:
        raise DatasetError(
            f"Answers of {max_new_tokens:,} tokens are not possible.",
            f"Choose from 1 to {ANSWER_TOKENS_MAX:,}.",
        )
    prompt_set = PromptSet(name=name, kind=kind, max_new_tokens=max_new_tokens)
    prompt_set.full_clean()
    prompt_set.save()
    rows = [_prompt(prompt_set, at, prompt) for at, prompt in enumerate(prompts, start=1)]
    if len({row.sha256 for row in rows}) < len(rows):
        raise DatasetError("A prompt stands in it twice.", "Leave one of the two out.")
    Prompt.objects.bulk_create(rows)
    record("prompts.made", prompt_set, after={"prompts": len(rows)})
    return prompt_set


def default_prompt_set_seed() -> PromptSet:
    """The prompt set that ships with the portal, made where it is missing."""
    known = PromptSet.objects.filter(name=DEFAULT_PROMPT_SET).first()
    return known or prompt_set_create(
        name=DEFAULT_PROMPT_SET, prompts=json.loads(_DEFAULT_PROMPTS.read_bytes())
    )


def _prompt(prompt_set: PromptSet, position: int, prompt: Mapping[str, Any]) -> Prompt:
    where = f"Prompt {position}"
    if prompt.get("group") not in PromptGroup.values:
        groups = ", ".join(PromptGroup.values)
        raise DatasetError(f"{where} is of no known group.", f"Use one of {groups}.")
    messages = prompt.get("messages")
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        raise DatasetError(
            f"{where} is not a list of messages.",
            'Write {"role": "user", "content": "..."} for each message.',
        )
    if messages[-1]["role"] != "user":
        raise DatasetError(f"{where} does not end with the user.", "Let the user speak last.")
    return Prompt(
        prompt_set=prompt_set,
        group=prompt["group"],
        position=position,
        messages=messages,
        sha256=messages_sha256(messages),
    )


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and message.get("role") in ("system", "user", "assistant")
        and isinstance(message.get("content"), str)
        and bool(message["content"].strip())
    )
