"""Small sets of text that are never learnt, whose perplexity tells early what is forgotten."""

import hashlib
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from corpus.conversations import ChatEncoder
from corpus.encoded import EncodedExample, Segment
from engine.checks import ConfigError
from training.config import ProbeConfig, RunConfig
from training.defences.likelihood import target_log_probabilities
from training.samples import Pool

_DOCUMENT_TOKENS = 128
"""Of each document of a text probe: more documents say more than more of one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """Examples that are read again and again, always the same ones."""

    key: str
    name: str
    is_general: bool
    """Whether it is text that should not get worse, which the brake goes by."""
    examples: Sequence[EncodedExample]

    def nats_per_token(self, model: nn.Module, device: torch.device) -> float:
        """Return the mean of −ln p over the decision tokens, or all tokens of documents."""
        nats, tokens = 0.0, 0
        for example in self.examples:
            log_probabilities = target_log_probabilities(model, example, device)
            nats -= log_probabilities.sum().item()
            tokens += len(log_probabilities)
        return nats / tokens


def perplexity(nats_per_token: float) -> float:
    """Return e to the power of it; infinite where that is not a number any more."""
    return math.exp(nats_per_token) if nats_per_token < 700 else math.inf


def probes_build(config: RunConfig, pools: Sequence[Pool], encoder: ChatEncoder) -> list[Probe]:
    """Return the run's probes: its texts, then the held-out examples of its batches.

    Each reads up to watch_probe_tokens tokens, and at least one example; a batch without held-out
    examples gives none. Raises ConfigError for a file of texts that cannot be read.
    """
    limit = config.watch.watch_probe_tokens
    probes = [
        _text_probe(text, f"probes[{index}].path", encoder, limit)
        for index, text in enumerate(config.probes)
    ]
    for batch, pool in zip(config.batches, pools, strict=True):
        examples = _sample([one.encoded for one in pool.held_out], limit, config.seed)
        if examples:
            general = batch.kind == "general"
            probes.append(
                Probe(key=batch.key, name=batch.name, is_general=general, examples=examples)
            )
    return probes


def _sample(examples: Sequence[EncodedExample], limit: int, seed: int) -> list[EncodedExample]:
    """Draw examples with a seed, as many as the limit of tokens lets in; the shortest at least."""
    order = random.Random(f"{seed}/probe").sample(list(examples), len(examples))  # noqa: S311
    chosen, tokens = [], 0
    for example in order:
        if tokens + len(example.token_ids) <= limit:
            chosen.append(example)
            tokens += len(example.token_ids)
    return chosen or sorted(order, key=lambda one: len(one.token_ids))[:1]


def _text_probe(text: ProbeConfig, where: str, encoder: ChatEncoder, limit: int) -> Probe:
    examples: list[EncodedExample] = []
    tokens = 0
    # From the end: an evaluation that reads a part of the same set reads the first documents.
    for document in reversed(list(_documents(text, where))):
        # With what the model's tokenizer puts before every text: some models need it.
        ids = encoder.tokenizer.encode(document, add_special_tokens=True).ids
        ids = ids[: min(_DOCUMENT_TOKENS, limit - tokens)]
        if len(ids) < 2:
            continue
        examples.append(_all_but_the_first(ids))
        tokens += len(ids)
        if limit - tokens < 2:
            break
    if not examples:
        message = f"{text.name} has no document of at least two tokens"
        raise ConfigError(where, message, "Choose a set of texts that has some.")
    return Probe(key=text.key, name=text.name, is_general=True, examples=examples)


def _all_but_the_first(ids: list[int]) -> EncodedExample:
    """A document as one decision: nothing stands before its first token to predict it from."""
    segments = [
        Segment(start=0, end=1, is_decision=False),
        Segment(start=1, end=len(ids), is_decision=True),
    ]
    return EncodedExample(token_ids=ids, segments=segments)


def _documents(text: ProbeConfig, where: str) -> Iterator[str]:
    """Yield the documents of a file; ConfigError names a line that is none."""
    try:
        with open(text.path, encoding="utf-8") as file:  # noqa: PTH123, a path of the config
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _document(text, where, number, line)
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8'}"
        raise ConfigError(where, message, "Name a file of documents.") from error


def _document(text: ProbeConfig, where: str, number: int, line: str) -> str:
    try:
        record = json.loads(line)
        document = record["text"]
        sound = hashlib.sha256(document.encode()).hexdigest() == record["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        message = f"line {number} of {text.name} is not a document with its SHA-256"
        raise ConfigError(where, message, 'Write {"text": ..., "sha256": ...} lines.')
    return str(document)
