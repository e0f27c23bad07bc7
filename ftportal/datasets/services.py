"""Changes to batches, held-out sets and prompt sets."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.core.files import File
from django.db import IntegrityError, transaction

from engine.errors import ProblemError
from ftportal.accounts.models import User
from ftportal.checkpoints.models import LanguageModel
from ftportal.datasets.models import (
    Batch,
    BatchProblem,
    BatchState,
    HeldOutSet,
    Prompt,
    PromptGroup,
    PromptSet,
)
from ftportal.datasets.selectors import batch_uses
from ftportal.datasets.uploads import Kept, UploadRefusedError, file_keep, incoming_path
from ftportal.jobs.services import job_submit

PROBLEMS_KEPT = 500
"""Problems of a refused batch that are stored; more are only counted."""
PROMPTS_MAX = 1000
"""Prompts of one set; even the strictest acceptance plan asks for fewer."""

DEFAULT_PROMPT_SET = "Three groups, twelve prompts"
_DEFAULT_PROMPTS = Path(__file__).with_name("seed_prompts.json")


class DatasetError(ProblemError):
    """Something cannot be done with a data set."""


def batch_upload(
    *,
    uploaded_by: User | None,
    language_model: LanguageModel,
    name: str,
    kind: str,
    decision_rule: str,
    file: File,
) -> Batch:
    """Keep an uploaded file as a batch and queue its reading; the batch says how that ends.

    The file is streamed to disk. Raises UploadRefusedError, with nothing kept, when it is empty,
    too large, or the same as a batch that is there for this model and decision rule.
    """
    filename = Path(file.name or "batch.jsonl").name[-255:]
    incoming = incoming_path("batches")
    kept = file_keep(file, incoming)
    batch = Batch(
        name=name.strip() or Path(filename).stem[:120],
        kind=kind,
        language_model=language_model,
        decision_rule=decision_rule,
        filename=filename,
        sha256=kept.sha256,
        size_bytes=kept.size_bytes,
        uploaded_by=uploaded_by,
    )
    try:
        return _batch_create(batch, incoming)
    except IntegrityError:
        raise _same_file(batch) from None
    finally:
        incoming.unlink(missing_ok=True)


@transaction.atomic
def _batch_create(batch: Batch, incoming: Path) -> Batch:
    if _twin(batch) is not None:
        raise _same_file(batch)
    batch.full_clean(validate_constraints=False)
    batch.save()
    batch.job = job_submit(
        kind="ingest", title=f"Read {batch.name}"[:200], created_by=batch.uploaded_by
    )
    batch.save(update_fields=["job"])
    shutil.rmtree(batch.directory, ignore_errors=True)
    batch.directory.mkdir(parents=True)
    incoming.replace(batch.source_path)
    return batch


def _twin(batch: Batch) -> Batch | None:
    return (
        Batch.objects.filter(
            sha256=batch.sha256,
            language_model=batch.language_model,
            decision_rule=batch.decision_rule,
        )
        .exclude(state=BatchState.REFUSED)
        .exclude(pk=batch.pk)
        .first()
    )


def _same_file(batch: Batch) -> UploadRefusedError:
    twin = _twin(batch)
    return UploadRefusedError(
        f"This very file is there already, as the batch {twin}.",
        "Use that batch, or choose another decision rule.",
        twin,
    )


def batch_accept(*, batch: Batch, summary: Mapping[str, Any], examples: Path) -> None:
    """Make a batch ready: its examples go beside its source, its counts are set. Repeatable.

    `examples` is the engine's file; after a crash it may have been moved already.
    """
    if examples.is_file():
        examples.replace(batch.examples_path)
    with transaction.atomic():
        changed = (
            Batch.objects.filter(pk=batch.pk)
            .exclude(state=BatchState.READY)
            .update(
                state=BatchState.READY,
                format=summary["format"] or "",
                example_count=summary["example_count"],
                held_out_count=summary["held_out_count"],
                context_token_count=summary["context_token_count"],
                decision_token_count=summary["decision_token_count"],
                decision_count=summary["decision_count"],
                token_length_max=summary["token_length_max"],
                decision_length_max=summary["decision_length_max"],
                problem_count=0,
            )
        )
        if changed:
            batch.problems.all().delete()
            batch.refresh_from_db()


@transaction.atomic
def batch_refuse(
    *, batch: Batch, problems: Sequence[Mapping[str, Any]], problem_count: int
) -> None:
    """Refuse a batch with the problems found: {"line", "message", "cure"} each. Repeatable.

    At most PROBLEMS_KEPT are stored; `problem_count` says how many there are.
    """
    Batch.objects.filter(pk=batch.pk).update(state=BatchState.REFUSED, problem_count=problem_count)
    batch.problems.all().delete()
    BatchProblem.objects.bulk_create(
        BatchProblem(
            batch=batch, line=one["line"], message=one["message"], cure=one.get("cure", "")
        )
        for one in problems[:PROBLEMS_KEPT]
    )


def batch_delete(*, batch: Batch) -> None:
    """Delete a batch that no run used, with its files. Raises DatasetError otherwise."""
    with transaction.atomic():
        current = Batch.objects.select_for_update().get(pk=batch.pk)
        if current.state == BatchState.READING:
            raise DatasetError("It is still being read.", "Wait until that has ended, or stop it.")
        if uses := batch_uses(current):
            raise DatasetError(f"It was used: {', '.join(uses)}.", "What a run learned stays.")
        directory = current.directory
        current.delete()
        transaction.on_commit(lambda: shutil.rmtree(directory, ignore_errors=True))


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
            raise DatasetError("There is not text in it.", "Give at least one document.")
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
            made.full_clean()
            made.save()
        return made
    finally:
        partial.unlink(missing_ok=True)


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
    *, name: str, prompts: Sequence[Mapping[str, Any]], is_random_sample: bool = False
) -> PromptSet:
    """Make a prompt set of {"group", "messages"} in this order; prompt sets never change.

    Every list of messages ends with the user's. Raises DatasetError for what cannot be a prompt.
    """
    if not prompts:
        raise DatasetError("There is no prompt in it.", "Give at least one prompt.")
    if len(prompts) > PROMPTS_MAX:
        raise DatasetError(
            f"There are {len(prompts):,} prompts in it, more than {PROMPTS_MAX:,}.",
            "Take a sample: people judge every one of them.",
        )
    if PromptSet.objects.filter(name=name).exists():
        raise DatasetError(f"There is a prompt set {name} already.", "Choose another name.")
    prompt_set = PromptSet(name=name, is_random_sample=is_random_sample)
    prompt_set.full_clean()
    prompt_set.save()
    rows = [_prompt(prompt_set, at, prompt) for at, prompt in enumerate(prompts, start=1)]
    if len({row.sha256 for row in rows}) < len(rows):
        raise DatasetError("A prompt stands in it twice.", "Leave one of the two out.")
    Prompt.objects.bulk_create(rows)
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
    text = json.dumps(messages, sort_keys=True, separators=(",", ":"))
    return Prompt(
        prompt_set=prompt_set,
        group=prompt["group"],
        position=position,
        messages=messages,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and message.get("role") in ("system", "user", "assistant")
        and isinstance(message.get("content"), str)
        and bool(message["content"].strip())
    )
