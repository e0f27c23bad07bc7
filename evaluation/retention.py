"""What a model still knows of a session: the loss on the examples that its batch set aside.

The loss is that of the decision tokens alone, each given everything before it, with the model's own
chat template: what training would minimise, on examples that it never sees. It is kept example by
example, so that two checkpoints are compared in pairs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from corpus.conversations import ChatEncoder
from corpus.encoded import EncodedExample
from corpus.examples import example_from_json
from corpus.jsontext import ExampleError
from engine.attempt import EngineError
from engine.process import BAD_INPUT
from evaluation.config import MeasureConfig, SessionConfig
from evaluation.loading import Loaded, encoder_read
from evaluation.longlogits import are_too_many, nll_nats


@dataclass(frozen=True, kw_only=True)
class HeldOutExample:
    """One example that was set aside, as the model sees it."""

    sha256: str
    encoded: EncodedExample


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The examples of a session that are measured."""

    examples: list[HeldOutExample]
    too_long_count: int
    """Held-out examples that are longer than the limit."""


def slice_read(session: SessionConfig, config: MeasureConfig, loaded: Loaded) -> Slice:
    """Read and encode what a batch set aside. Raises EngineError (BAD_INPUT) naming the line."""
    encoder = encoder_read(config)
    limit = min(session.max_tokens, loaded.context_limit_tokens or session.max_tokens)
    examples: list[HeldOutExample] = []
    too_long = 0
    # By hash, so that the same examples are asked of every model, whatever order a file has.
    for record in sorted(_held_out(session), key=lambda one: one["sha256"]):
        if len(examples) == session.max_examples:
            break
        encoded = _encoded(session, record, encoder)
        if len(encoded.token_ids) > limit:
            too_long += 1
            continue
        examples.append(HeldOutExample(sha256=record["sha256"], encoded=encoded))
    return Slice(examples=examples, too_long_count=too_long)


def _held_out(session: SessionConfig) -> list[dict[str, Any]]:
    """The records of a batch that are held out, each content once."""
    records: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(_lines(session), start=1):
        try:
            record = json.loads(line)
            if record["held_out"]:
                records[record["sha256"]] = record | {"turns": list(record["turns"])}
        except (ValueError, KeyError, TypeError) as error:
            message = f"line {number} of {session.name} is not an example ({error!r})"
            cure = "Let corpus.ingestion write the file."
            raise EngineError(BAD_INPUT, "sessions.path", message, cure) from error
    return list(records.values())


def _lines(session: SessionConfig) -> Iterator[bytes]:
    path = Path(session.path)
    if not path.is_file():
        message = f"the examples of {session.name} are missing on disk"
        raise EngineError(BAD_INPUT, "sessions.path", message, "Upload the file again.")
    with path.open("rb") as file:
        yield from file


def _encoded(
    session: SessionConfig, record: dict[str, Any], encoder: ChatEncoder
) -> EncodedExample:
    try:
        return encoder.encode(example_from_json(record))
    except ExampleError as error:
        where = f"session {session.name}, line {record.get('line')}"
        raise EngineError(BAD_INPUT, where, error.message, error.cure) from error
    except (KeyError, TypeError, AttributeError) as error:
        message = f"line {record.get('line')} of {session.name} is not an example ({error!r})"
        cure = "Let corpus.ingestion write the file."
        raise EngineError(BAD_INPUT, "sessions.path", message, cure) from error


@torch.inference_mode()
def decision_nll_nats(encoded: EncodedExample, loaded: Loaded) -> float:
    """-sum of log p(decision token | all tokens before it), float32 log-softmax, nats."""
    targets = [
        index
        for segment in encoded.segments
        if segment.is_decision
        for index in range(segment.start, segment.end)
    ]
    ids = torch.tensor(encoded.token_ids, device=loaded.device)  # [tokens]
    first, end = targets[0], targets[-1] + 1
    if are_too_many(end - first, loaded):
        return float(nll_nats(loaded, ids, torch.tensor(targets, device=loaded.device)).sum())
    # Logits of position i predict token i + 1: those from first - 1 to end - 2 are needed.
    logits = loaded.model(ids[: end - 1].unsqueeze(0), logits_to_keep=end - first).logits[0]
    at = torch.tensor(targets, device=loaded.device)
    kept = logits[-(end - first) :][at - first].float()  # [decision tokens, vocabulary]
    return float(functional.cross_entropy(kept, ids[at], reduction="sum"))


def session_measure(
    session: SessionConfig,
    examples: Sequence[HeldOutExample],
    loaded: Loaded,
    on_share: Callable[[float], None],
) -> dict[str, Any]:
    """Measure one session: {"retention": [a row an example]}."""
    rows = []
    for number, example in enumerate(examples):
        on_share(number / len(examples))
        nll_nats = decision_nll_nats(example.encoded, loaded)
        if not math.isfinite(nll_nats):
            message = f"held-out example {number + 1} of {session.name} has no finite likelihood"
            cure = "The checkpoint's weights are broken: choose another one, or train it again."
            raise EngineError(BAD_INPUT, "model", message, cure)
        rows.append(
            {
                "session_key": session.key,
                "doc_hash": example.sha256,
                "nll_nats": nll_nats,
                "tokens": example.encoded.decision_token_count,
            }
        )
    return {"scores": [], "retention": rows}
