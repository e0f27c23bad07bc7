"""How likely every decision of a batch is under a model, before anything is trained.

A decision's score is the mean of log p(token | all tokens before it) over its learnt tokens, in
nats, from a float32 log-softmax. What is very unlikely is usually broken: another language, a torn
answer, the wrong turn. What is very likely has nothing to teach. Examples are read one by one, so
no other example changes a score.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from corpus.encoded import EncodedExample
from corpus.examples import example_from_json
from corpus.ingestion.parts import Progress
from corpus.jsontext import ExampleError
from corpus.scored import DECISIONS_FILE, decisions_open, decisions_write, histogram_of
from engine.attempt import Attempt, EngineError
from engine.directory import json_write
from engine.process import BAD_INPUT
from evaluation.batching import BatchSize
from evaluation.config import ScoreConfig
from evaluation.loading import Loaded, encoder_read, model_load, settings_of
from evaluation.longlogits import are_too_many, nll_nats
from evaluation.parts import Parts

_PART_SECONDS = 4.0
"""A stopped or killed job loses no more than this."""
_TELL_SECONDS = 0.5
_ONE_BY_ONE = BatchSize(size=1, words="examples are read one by one")


@torch.inference_mode()
def decisions_nats(encoded: EncodedExample, loaded: Loaded) -> list[tuple[int, float]]:
    """Return (learnt tokens, mean of their log-probabilities in nats) of each decision."""
    targets = [encoded.targets(decision) for decision in encoded.decisions]
    places = [place for decision in targets for place in decision]
    ids = torch.tensor(encoded.token_ids, device=loaded.device)  # [tokens]
    at = torch.tensor(places, device=loaded.device)  # [targets]
    if are_too_many(len(places), loaded):
        nats = -nll_nats(loaded, ids, at)
    else:
        logits = loaded.model(
            ids[: places[-1]].unsqueeze(0), logits_to_keep=at - 1, use_cache=False
        ).logits[0]  # [targets, vocabulary]
        nats = -functional.cross_entropy(logits.float(), ids[at], reduction="none")
    parts = nats.double().cpu().split([len(decision) for decision in targets])
    return [(len(part), float(part.mean())) for part in parts]


class _Scoring:
    """One pass over a batch's examples, in parts that an attempt after a stop does not repeat."""

    def __init__(self, attempt: Attempt, config: ScoreConfig, loaded: Loaded) -> None:
        self._attempt = attempt
        self._config = config
        self._loaded = loaded
        self._encoder = encoder_read(config)
        self._limit = min(config.max_tokens, loaded.context_limit_tokens or config.max_tokens)
        self._total_bytes = Path(config.examples).stat().st_size
        self._progress = Progress(attempt, "scoring", self._total_bytes)
        self._told = time.monotonic()

    def run(self, parts: Parts) -> list[dict[str, Any]]:
        """Score all examples; return the results of the parts in order."""
        results: list[dict[str, Any]] = []
        at = {"offset": 0, "example": 0}
        with Path(self._config.examples).open("rb") as file:
            while at["offset"] < self._total_bytes:
                key = f"examples from byte {at['offset']}"
                result = parts.get(key)
                if result is None:
                    result = self._part(file, at)
                else:
                    self._progress.start(result["next"]["offset"])
                parts.put(key, result)
                results.append(result)
                at = result["next"]
                self._attempt.check_stop()
        return results

    def _part(self, file: Any, at: Mapping[str, int]) -> dict[str, Any]:
        rows: list[tuple[int, int, int, int, float]] = []
        too_long = 0
        offset, number = at["offset"], at["example"]
        file.seek(offset)
        began = time.monotonic()
        while line := file.readline():
            encoded = self._encoded(line, number)
            if len(encoded.token_ids) > self._limit:
                too_long += 1
            else:
                rows += self._scored(encoded, offset, number)
            offset, number = offset + len(line), number + 1
            self._tell(offset)
            if time.monotonic() - began >= _PART_SECONDS:
                break
        after = {"offset": offset, "example": number}
        return {"rows": rows, "too_long": too_long, "next": after}

    def _scored(
        self, encoded: EncodedExample, offset: int, number: int
    ) -> list[tuple[int, int, int, int, float]]:
        rows = []
        for decision, (tokens, mean) in enumerate(decisions_nats(encoded, self._loaded)):
            if not math.isfinite(mean):
                message = f"example {number + 1} has no finite likelihood"
                cure = "The weights are broken: choose another checkpoint, or train it again."
                raise EngineError(BAD_INPUT, "model", message, cure)
            rows.append((offset, number, decision, tokens, mean))
        return rows

    def _encoded(self, line: bytes, number: int) -> EncodedExample:
        try:
            return self._encoder.encode(example_from_json(json.loads(line)))
        except ExampleError as error:
            where = f"examples, line {number + 1}"
            raise EngineError(BAD_INPUT, where, error.message, error.cure) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"line {number + 1} is not an example ({error!r})"
            cure = "Let corpus.ingestion write the file."
            raise EngineError(BAD_INPUT, "examples", message, cure) from error

    def _tell(self, offset: int) -> None:
        self._attempt.check_stop()
        if time.monotonic() - self._told >= _TELL_SECONDS:
            self._told = time.monotonic()
            self._progress.tell(offset)


def batch_score(attempt: Attempt, config: ScoreConfig, parts: Parts) -> dict[str, Any]:
    """Score all decisions of a batch; write decisions.npy and settings.json, return the summary."""
    if not Path(config.examples).is_file():
        cure = "Upload the batch again."
        raise EngineError(BAD_INPUT, "examples", "are missing on disk", cure)
    loaded = model_load(replace(config, **parts.pinned))
    parts.pin({"dtype": loaded.dtype})
    results = _Scoring(attempt, config, loaded).run(parts)
    rows = [tuple(row) for result in results for row in result["rows"]]
    with attempt.output_directory() as output:
        decisions_write(output / DECISIONS_FILE, rows)
        table = decisions_open(output / DECISIONS_FILE)
        summary = {
            "decision_count": len(table),
            "example_count": results[-1]["next"]["example"] if results else 0,
            "too_long_count": sum(result["too_long"] for result in results),
            "max_tokens": config.max_tokens,
            "histogram": histogram_of(table),
        }
        json_write(output / "summary.json", summary)
        json_write(output / "settings.json", settings_of(config, loaded, _ONE_BY_ONE))
    return summary
