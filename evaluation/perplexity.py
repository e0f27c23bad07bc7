"""The likelihood of held-out documents, exact, one document at a time."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from engine.attempt import EngineError
from engine.process import BAD_INPUT
from evaluation.config import HeldOutConfig, MeasureConfig
from evaluation.loading import Loaded
from evaluation.longlogits import are_too_many, nll_nats


@dataclass(frozen=True, kw_only=True)
class EncodedDocument:
    """One document as the model sees it, cut at the limit."""

    sha256: str
    token_ids: list[int]
    size_bytes: int
    """UTF-8 bytes of the part that the tokens cover."""


def documents_encode(
    held_out: HeldOutConfig, config: MeasureConfig, loaded: Loaded
) -> list[EncodedDocument]:
    """Read and cut a held-out set. Raises EngineError (BAD_INPUT) naming file and line."""
    limit = loaded.context_limit_tokens
    if limit is not None and config.window_tokens > limit:
        message = f"{config.window_tokens} is more than the model's {limit} positions"
        cure = f"Use at most {limit}."
        raise EngineError(BAD_INPUT, "window_tokens", message, cure)
    documents: list[EncodedDocument] = []
    for text, sha256 in _texts(held_out):
        if held_out.max_documents is not None and len(documents) == held_out.max_documents:
            break
        encoding = loaded.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = encoding["input_ids"][: held_out.max_tokens]
        end = encoding["offset_mapping"][: held_out.max_tokens][-1][1]
        size_bytes = len(text[:end].encode())
        documents.append(EncodedDocument(sha256=sha256, token_ids=ids, size_bytes=size_bytes))
    if not documents:
        message, cure = f"{held_out.name} holds no documents", "Use a set with documents."
        raise EngineError(BAD_INPUT, "held_out.path", message, cure)
    return documents


def _texts(held_out: HeldOutConfig) -> Iterator[tuple[str, str]]:
    path = Path(held_out.path)
    if not path.is_file():
        message = f"the file of {held_out.name} does not exist"
        raise EngineError(BAD_INPUT, "held_out.path", message, "Choose a set that is still there.")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                text, sha256 = record["text"], record["sha256"]
                sound = bool(text) and hashlib.sha256(text.encode()).hexdigest() == sha256
            except (ValueError, KeyError, TypeError, AttributeError):
                sound = False
            if not sound:
                message = f"line {number} of {held_out.name} is not a document with its SHA-256"
                cure = 'Write {"text": ..., "sha256": ...} lines.'
                raise EngineError(BAD_INPUT, "held_out.path", message, cure)
            yield text, sha256


def windows(length: int, window: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """(begin, end, first scored) of every window over `length` tokens, the prefix token included.

    Token 0 is the prefix and is never scored; every other one is scored exactly once, the last
    window reaching the end.
    """
    scored = 1
    begin = 0
    while scored < length:
        end = min(begin + window, length)
        yield begin, end, scored
        scored = end
        begin += stride


@torch.inference_mode()
def document_nll_nats(
    token_ids: Sequence[int], loaded: Loaded, *, window_tokens: int, stride_tokens: int
) -> float:
    """-sum of log p(token | the tokens before it in its window), float32 log-softmax, nats."""
    sequence = torch.tensor([loaded.prefix_token_id, *token_ids], device=loaded.device)
    parts: list[torch.Tensor] = []
    for begin, end, scored in windows(len(sequence), window_tokens, stride_tokens):
        if are_too_many(end - scored, loaded):
            places = torch.arange(scored - begin, end - begin, device=loaded.device)
            parts.append(nll_nats(loaded, sequence[begin:end], places).sum())
            continue
        inputs = sequence[begin : end - 1].unsqueeze(0)  # [1, window - 1]: the last predicts none
        # Logits of position i predict token i + 1, so the scored tokens need end - scored of them.
        logits = loaded.model(inputs, logits_to_keep=end - scored).logits[0, -(end - scored) :]
        parts.append(
            functional.cross_entropy(logits.float(), sequence[scored:end], reduction="sum")
        )
    # One wait for the device a document; added as float64, window by window.
    return sum(torch.stack(parts).tolist())


def held_out_measure(
    held_out: HeldOutConfig,
    documents: Sequence[EncodedDocument],
    config: MeasureConfig,
    loaded: Loaded,
    on_share: Callable[[float], None],
) -> dict[str, Any]:
    """Measure one held-out set: {"scores": [...], "documents": [...]}."""
    rows = []
    for number, document in enumerate(documents):
        on_share(number / len(documents))
        nll_nats = document_nll_nats(
            document.token_ids,
            loaded,
            window_tokens=config.window_tokens,
            stride_tokens=config.stride_tokens,
        )
        if not math.isfinite(nll_nats):
            message = f"document {number + 1} of {held_out.name} has no finite likelihood"
            cure = "The checkpoint is broken or float16 overflowed: train it again."
            raise EngineError(BAD_INPUT, "model", message, cure)
        rows.append(
            {
                "held_out_key": held_out.key,
                "doc_hash": document.sha256,
                "nll_nats": nll_nats,
                "tokens": len(document.token_ids),
                "bytes": document.size_bytes,
            }
        )
    return {"scores": _scores(held_out, rows), "documents": rows}


def _scores(held_out: HeldOutConfig, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    nll = sum(row["nll_nats"] for row in rows)
    tokens = sum(row["tokens"] for row in rows)
    size_bytes = sum(row["bytes"] for row in rows)
    perplexity, bits = math.exp(min(nll / tokens, 700.0)), nll / math.log(2) / size_bytes
    common = {"benchmark": held_out.key, "n": len(rows), "higher_is_better": False}
    error = _relative_error(rows, nll / tokens, tokens)
    return [
        {
            **common,
            "metric": "perplexity_per_token",
            "value": perplexity,
            "stderr": None if error is None else perplexity * error,
            "unit": "",
        },
        {**common, "metric": "bits_per_byte", "value": bits, "stderr": None, "unit": "bits"},
    ]


def _relative_error(rows: list[dict[str, Any]], rate: float, tokens: int) -> float | None:
    """Standard error of the mean nats a token over documents, so of the log of the perplexity."""
    if len(rows) < 2:
        return None
    squares = sum((row["nll_nats"] - rate * row["tokens"]) ** 2 for row in rows)
    return math.sqrt(len(rows) / (len(rows) - 1) * squares) / tokens
