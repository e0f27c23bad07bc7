"""What a run learns from: the encoded examples of its batches, in the order of training.

Held-out examples are never among them, whichever batch of the run holds them out. No torch here.
"""

import json
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

from corpus.conversations import ChatEncoder
from corpus.encoded import EncodedExample
from corpus.examples import example_from_json
from corpus.jsontext import ExampleError
from engine.checks import ConfigError
from training.ahead.mixture import example_order, mixture_counts, step_count
from training.config import BatchConfig, RunConfig
from training.frozen.stretches import arithmetic


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One example, encoded, and the batch it is from."""

    encoded: EncodedExample
    batch_key: str
    kind: str

    def cost(self, config: RunConfig) -> int:
        """Arithmetic of learning it once, in units of one token's forward."""
        return arithmetic(
            self.encoded,
            context_frozen=config.context_frozen,
            grad_window=config.context.grad_window,
        )


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What a batch holds, in the order of its file; examples that are too long left out."""

    name: str
    kind: str
    train: Sequence[Sample]
    held_out: Sequence[Sample]
    """Never learnt."""
    too_long_count: int
    """Examples to learn that are longer than the limit."""


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    """The samples in the order of training, over all epochs."""

    samples: Sequence[Sample]
    step_count: int
    examples_per_epoch: int
    pools: Sequence[Pool]
    """What the samples were drawn from, batch by batch."""

    def samples_of(self, step: int, examples_per_step: int) -> Sequence[Sample]:
        """Return what a step learns from; steps count from 1."""
        return self.samples[(step - 1) * examples_per_step : step * examples_per_step]


def curriculum_build(config: RunConfig, encoder: ChatEncoder, max_tokens: int) -> Curriculum:
    """Read and encode all batches and lay out the order; ConfigError names what is wrong."""
    places = [f"batches[{index}].path" for index in range(len(config.batches))]
    held_out = _held_out_hashes(config.batches, places)
    pools = [
        _batch_read(batch, where, encoder, max_tokens, held_out)
        for batch, where in zip(config.batches, places, strict=True)
    ]
    counts = [len(pool.train) for pool in pools]
    weights = [batch.weight for batch in config.batches]
    order = example_order(counts, weights, epochs=config.epochs, seed=config.seed)
    steps = step_count(
        counts,
        weights,
        epochs=config.epochs,
        examples_per_step=config.examples_per_step,
        max_steps=config.max_steps,
    )
    used = order[: steps * config.examples_per_step]
    return Curriculum(
        samples=[pools[batch].train[example] for batch, example in used],
        step_count=steps,
        examples_per_epoch=sum(mixture_counts(counts, weights)),
        pools=pools,
    )


def _held_out_hashes(batches: Sequence[BatchConfig], places: Sequence[str]) -> set[str]:
    """Hashes of the examples that any batch of the run holds out.

    `corpus.ingestion` holds an example out by its content alone, so one that is held out in an
    earlier session's batch is held out in every later batch that it comes with.
    """
    return {
        record["sha256"]
        for batch, where in zip(batches, places, strict=True)
        for record in _records(batch, where)
        if record["held_out"]
    }


def _batch_read(
    batch: BatchConfig,
    where: str,
    encoder: ChatEncoder,
    max_tokens: int,
    held_out_hashes: Set[str],
) -> Pool:
    train: list[Sample] = []
    held_out: list[Sample] = []
    too_long = 0
    for number, record in enumerate(_records(batch, where), start=1):
        side = held_out if record["sha256"] in held_out_hashes else train
        try:
            encoded = encoder.encode(example_from_json(record))
        except ExampleError as error:
            message = f"{batch.name}, line {record.get('line')}: {error.message}"
            raise ConfigError(where, message, error.cure) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _no_example(batch, where, number, error) from error
        if len(encoded.token_ids) <= max_tokens:
            side.append(Sample(encoded=encoded, batch_key=batch.key, kind=batch.kind))
        elif side is train:
            too_long += 1
    if not train:
        message = f"{batch.name} has no example to learn from of at most {max_tokens:,} tokens"
        cure = "Raise max_example_tokens, or choose a batch with more examples."
        raise ConfigError(where, message, cure)
    return Pool(
        name=batch.name, kind=batch.kind, train=train, held_out=held_out, too_long_count=too_long
    )


def _records(batch: BatchConfig, where: str) -> Iterator[dict[str, Any]]:
    """The decoded lines of a batch's file, each with its hash and its held_out mark."""
    number = 1
    try:
        with open(batch.path, encoding="utf-8") as file:  # noqa: PTH123, a path of the config
            for number, line in enumerate(file, start=1):  # noqa: B007, for the errors below
                record = json.loads(line)
                if type(record["sha256"]) is not str or type(record["held_out"]) is not bool:
                    raise TypeError("sha256 is a text and held_out true or false")
                yield record
    except OSError as error:
        raise ConfigError(where, f"cannot be read: {error.strerror}", "Name a file.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise _no_example(batch, where, number, error) from error


def _no_example(batch: BatchConfig, where: str, number: int, error: Exception) -> ConfigError:
    """number: of the line in the engine's own file, counted from 1."""
    cure = "Let corpus.ingestion write the file."
    message = f"{batch.name}, line {number} of its examples is not an example ({error!r})"
    return ConfigError(where, message, cure)
