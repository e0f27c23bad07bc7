"""Tokens that the parent finds very unlikely are read but not learnt.

Such tokens pull hardest at the weights, and leaving them out lowers what is forgotten elsewhere
("Mitigating forgetting in LLM fine-tuning via low-perplexity token learning", arXiv 2501.14315). It
also leaves out what is new in a batch, so the threshold is low or the batch is not learnt.

One forward pass of the parent over every example that the run uses, before training: 2 N
operations a token. A resumed run does it again, with the same parent and so the same result.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from engine.attempt import Attempt
from engine.checks import ConfigError
from training.config import RunConfig
from training.defences.likelihood import reading, target_log_probabilities, target_places
from training.ranks.sharding import Holding
from training.samples import Curriculum, Sample


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What was left out of a curriculum, by batch key, each example counted once."""

    target_counts: dict[str, int]
    """Decision tokens of the examples that the run uses, before anything was left out."""
    token_counts: dict[str, int]
    """Those among them that are not learnt."""
    example_counts: dict[str, int]
    """Examples that would have nothing to learn, and are not used at all."""

    def to_json(self) -> dict[str, Any]:
        """Return {"decision_tokens"|"left_out_tokens"|"left_out_examples": {batch key: count}}."""
        return {
            "decision_tokens": self.target_counts,
            "left_out_tokens": self.token_counts,
            "left_out_examples": self.example_counts,
        }


def unlikely_places(log_probabilities: Sequence[float], threshold: float) -> list[int]:
    """Return which of these ln p are below that of the threshold, a probability."""
    limit = math.log(threshold)
    return [index for index, value in enumerate(log_probabilities) if value < limit]


def unlikely_targets(
    sample: Sample, model: nn.Module, threshold: float, device: torch.device
) -> list[int]:
    """Return the places of a sample's unlikely targets; the model is the parent."""
    places = target_places(sample.encoded)
    log_probabilities = target_log_probabilities(model, sample.encoded, device).tolist()
    return [places[index] for index in unlikely_places(log_probabilities, threshold)]


def sample_without(sample: Sample, places: Sequence[int]) -> Sample:
    """Return the sample with the targets at these places left out too."""
    encoded = sample.encoded
    return replace(sample, encoded=replace(encoded, left_out=encoded.left_out | set(places)))


def curriculum_reduce(
    config: RunConfig,
    model: nn.Module,
    curriculum: Curriculum,
    attempt: Attempt,
    device: torch.device,
    holding: Holding,
) -> tuple[Curriculum, LeftOut | None]:
    """Return the curriculum without unlikely targets and what was left out; warn by batch.

    Ranks share the examples and get the same curriculum. The model has the parent's weights. Raises
    ConfigError where nothing is left to learn. Without a threshold the curriculum comes back as it
    is, and None.
    """
    threshold = config.defences.mask_below_probability
    if threshold is None:
        return curriculum, None
    distinct = {id(sample): sample for sample in curriculum.samples}
    reduced = _reduce(list(distinct.values()), model, threshold, attempt, device, holding)
    samples = [reduced[id(sample)] for sample in curriculum.samples]
    used = [sample for sample in samples if sample.encoded.decision_token_count]
    if not used:
        message = f"the parent gives every token to learn a probability below {threshold:g}"
        cure = "Lower the threshold, or leave it out."
        raise ConfigError("defences.mask_below_probability", message, cure)
    left_out = _count(list(distinct.values()), [reduced[key] for key in distinct])
    _warn(config, left_out, attempt)
    steps = -(-len(used) // config.examples_per_step)
    return replace(curriculum, samples=used, step_count=steps), left_out


def _reduce(
    samples: Sequence[Sample],
    model: nn.Module,
    threshold: float,
    attempt: Attempt,
    device: torch.device,
    holding: Holding,
) -> dict[int, Sample]:
    """Return the reduced samples by the identity of the whole ones."""
    ranks = holding.ranks
    own = ranks.share([len(sample.encoded.token_ids) for sample in samples])
    unlikely: list[tuple[int, list[int]]] = []
    with reading(model), holding.walking():
        for number, index in enumerate(own):
            attempt.check_stop()
            attempt.events.progress(
                done=number, total=len(own), unit="examples", phase="looking at every token"
            )
            unlikely.append((index, unlikely_targets(samples[index], model, threshold, device)))
    return {
        id(samples[index]): sample_without(samples[index], places)
        for rank in ranks.gather(unlikely)
        for index, places in rank
    }


def _count(before: Sequence[Sample], after: Sequence[Sample]) -> LeftOut:
    targets: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    examples: Counter[str] = Counter()
    for whole, part in zip(before, after, strict=True):
        left = part.encoded.decision_token_count
        targets[whole.batch_key] += whole.encoded.decision_token_count
        tokens[whole.batch_key] += whole.encoded.decision_token_count - left
        examples[whole.batch_key] += left == 0
    return LeftOut(
        target_counts=dict(targets), token_counts=dict(tokens), example_counts=dict(examples)
    )


def _warn(config: RunConfig, left_out: LeftOut, attempt: Attempt) -> None:
    threshold = config.defences.mask_below_probability
    where = "defences.mask_below_probability"
    for batch in config.batches:
        total, gone = left_out.target_counts.get(batch.key), left_out.token_counts.get(batch.key)
        if not total or not gone:
            continue
        message = (
            f"{batch.name}: {gone:,} of {total:,} decision tokens ({100 * gone / total:.1f} %) are "
            f"read but not learnt, for the parent gives them a probability below {threshold:g}"
        )
        if empty := left_out.example_counts[batch.key]:
            word = "example has" if empty == 1 else "examples have"
            message += f"; {empty:,} {word} nothing else to learn and are left out"
        attempt.events.warning(where=where, message=message)
