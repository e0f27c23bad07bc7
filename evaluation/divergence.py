"""Forward KL from the parent to the model: how differently it speaks where nobody taught it to.

KL(parent ‖ model) = Σ_v p(v) (log p(v) - log q(v)), over the full vocabulary, in float32, at every
chosen position; the mean over positions in nats. It is one-sided: it grows where the model no
longer says what its parent would have said. Two models never have to fit into memory together: the
parent is asked first and its log-probabilities are kept, `kl_tokens` x vocabulary x 4 bytes in all
(100 MB for SmolLM2 with 512 tokens), then it is dropped and the model is asked.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from engine.attempt import EngineError
from engine.manifest import file_sha256
from engine.modelcheck import model_directory_problems
from engine.process import BAD_INPUT
from evaluation.config import MeasureConfig
from evaluation.loading import Loaded, model_load
from evaluation.perplexity import documents_encode
from evaluation.retention import slice_read

POSITIONS_A_TEXT = 64
"""At most so many of one text, so that several texts share a place's tokens."""
METRIC = "forward_kl_nats"


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Some positions of one text."""

    token_ids: list[int]
    """The text up to the last target."""
    targets: list[int]
    """Places in `token_ids` whose prediction is compared; never the first."""
    log_probabilities: torch.Tensor
    """The parent's, float32 [targets, vocabulary], on the CPU."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What the parent says, by the key of the held-out set or session."""

    places: dict[str, list[Passage]]

    @property
    def size_bytes(self) -> int:
        """Memory that the kept probabilities take."""
        return sum(one.log_probabilities.nbytes for place in self.places.values() for one in place)

    @property
    def token_count(self) -> int:
        """Positions compared."""
        return sum(len(one.targets) for place in self.places.values() for one in place)


def reference_read(config: MeasureConfig) -> Reference:
    """Ask the parent. Raises EngineError (BAD_INPUT) where it is not to be compared with."""
    assert config.parent is not None  # noqa: S101  (for the type checker)
    problems = model_directory_problems(config.parent)
    if problems:
        first = problems[0]
        raise EngineError(BAD_INPUT, "parent", f"{first.where}: {first.message}", first.cure)
    if tokenizer_sha256(config.parent) != tokenizer_sha256(config.model):
        message = "its tokenizer is not the model's, so nothing can be compared token by token"
        cure = "Leave parent out, or name a parent with the same tokenizer."
        raise EngineError(BAD_INPUT, "parent", message, cure)
    loaded = model_load(replace(config, model=config.parent))
    texts = _texts(config, loaded)
    budget = config.kl_tokens // max(1, len(texts))
    places = {key: list(_place(one, budget, loaded)) for key, one in texts.items()}
    reference = Reference(places={key: place for key, place in places.items() if place})
    del loaded
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return reference


def tokenizer_sha256(directory: str) -> str:
    """Hash of the file that says how text becomes tokens."""
    return file_sha256(Path(directory) / "tokenizer.json")


_Text = tuple[list[int], list[int]]
"""Token ids, and the places among them whose prediction is compared."""


def _texts(config: MeasureConfig, loaded: Loaded) -> dict[str, list[_Text]]:
    """Held-out documents from their beginning, and the decisions of held-out examples."""
    texts_by_key: dict[str, list[_Text]] = {}
    for held_out in config.held_out:
        texts_by_key[held_out.key] = [
            (
                ids := [loaded.prefix_token_id, *one.token_ids[:POSITIONS_A_TEXT]],
                list(range(1, len(ids))),
            )
            for one in documents_encode(held_out, config, loaded)
        ]
    for session in config.sessions:
        texts_by_key[f"session:{session.key}"] = [
            (one.encoded.token_ids, _decisions(one.encoded)[:POSITIONS_A_TEXT])
            for one in slice_read(session, config, loaded).examples
        ]
    return {key: texts for key, texts in texts_by_key.items() if texts}


def _decisions(encoded: Any) -> list[int]:
    return [
        index
        for segment in encoded.segments
        if segment.is_decision
        for index in range(segment.start, segment.end)
    ]


def _place(texts: Sequence[_Text], budget: int, loaded: Loaded) -> Iterator[Passage]:
    for token_ids, targets in texts:
        chosen = targets[:budget]
        budget -= len(chosen)
        if not chosen:
            return
        known = token_ids[: chosen[-1] + 1]
        yield Passage(
            token_ids=known,
            targets=chosen,
            log_probabilities=_log_probabilities(known, chosen, loaded).cpu(),
        )


@torch.inference_mode()
def _log_probabilities(
    token_ids: Sequence[int], targets: Sequence[int], loaded: Loaded
) -> torch.Tensor:
    """float32 [targets, vocabulary]: what is predicted at the targets from all before them."""
    first, end = targets[0], len(token_ids)
    inputs = torch.tensor([token_ids[: end - 1]], device=loaded.device)
    logits = loaded.model(inputs, logits_to_keep=end - first).logits[0, -(end - first) :]
    at = torch.tensor(targets, device=loaded.device) - first
    return logits[at].float().log_softmax(-1)


def divergence_measure(
    reference: Reference, loaded: Loaded, on_share: Callable[[float], None]
) -> dict[str, Any]:
    """Compare the model with its parent: {"scores": a mean a place, "divergence": what it took}."""
    scores, done = [], 0
    for key, passages in reference.places.items():
        sums = []
        for passage in passages:
            on_share(done / reference.token_count)
            sums.append(_kl_nats(passage, loaded))
            done += len(passage.targets)
        scores.append(_score(key, sums, [len(one.targets) for one in passages]))
    took = {"tokens": reference.token_count, "memory_bytes": reference.size_bytes}
    return {"scores": scores, "divergence": took}


def _kl_nats(passage: Passage, loaded: Loaded) -> float:
    """Sum over the passage's positions of KL(parent ‖ model)."""
    own = _log_probabilities(passage.token_ids, passage.targets, loaded)
    parent = passage.log_probabilities.to(own.device)
    if own.shape != parent.shape:
        message = f"the parent knows {parent.shape[1]} tokens, the model {own.shape[1]}"
        cure = "Leave parent out, or name a parent with the same vocabulary."
        raise EngineError(BAD_INPUT, "parent", message, cure)
    nats = float(torch.sum(parent.exp() * (parent - own)))
    if not math.isfinite(nats):
        message = "its probabilities, or its parent's, are not numbers"
        cure = "The weights are broken: choose another checkpoint, or train it again."
        raise EngineError(BAD_INPUT, "model", message, cure)
    return nats


def _score(key: str, sums: Sequence[float], counts: Sequence[int]) -> dict[str, Any]:
    """The mean over positions, with the standard error of a ratio over texts."""
    mean, n = sum(sums) / sum(counts), len(sums)
    squares = sum((nats - mean * count) ** 2 for nats, count in zip(sums, counts, strict=True))
    error = math.sqrt(n / (n - 1) * squares) / sum(counts) if n > 1 else None
    return {
        "benchmark": key,
        "metric": METRIC,
        "value": mean,
        "stderr": error,
        "n": n,
        "higher_is_better": False,
        "unit": "nats",
    }
