"""Context-frozen training of conversations, and its label-masking counterpart.

Context runs forward without gradient and fills a cache; each decision runs with gradient, attends
to detached keys and values, gets a backward of its own, and then becomes context in turn. One pass
serves all decisions, and memory holds one decision's graph at a time. The gradient that would flow
through the context into its representation is dropped, on purpose, but for the last `grad_window`
tokens before each decision: the walk goes back to where they begin and reads them with gradient.

Several conversations can be walked side by side, decision by decision: `StreamReader` says how.

Dropout, where a model has any, is on in the context too: the model reads it as it does under label
masking.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from corpus.encoded import EncodedExample
from training.frozen.gathering import GatheredReader
from training.frozen.reader import StreamReader, base_model
from training.frozen.stretches import Stretch, stretches, stretches_group


@dataclass(frozen=True, kw_only=True)
class DecisionLoss:
    """The loss of one backward: of one decision in each of some conversations, or of all."""

    nll_sum: torch.Tensor
    """Sum of −ln p over all tokens that are learnt, a scalar in nats that carries the graph."""
    nll_sums: torch.Tensor
    """(conversations,) Each conversation's part of it, without the graph."""
    token_counts: tuple[int, ...]
    """(conversations,) Tokens behind each part; 0 for a conversation that has none in it."""


LossFunction = Callable[[nn.Module, Sequence[EncodedExample], torch.device], Iterator[DecisionLoss]]


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What one backward runs over: one decision in each of some conversations."""

    logits: torch.Tensor
    """(targets, vocabulary), with the graph."""
    targets: list[int]
    """(targets,) The tokens that are learnt."""
    rows: list[int]
    """(targets,) The conversation of each."""


def decisions_walk(
    model: nn.Module,
    examples: Sequence[EncodedExample],
    device: torch.device,
    *,
    grad_window: int = 0,
    gather: bool = False,
) -> Iterator[Decisions]:
    """Walk conversations side by side and yield the first decision of each, then the second of
    each that has two, and so on. The graph must be done with when the next is asked for.

    gather: yield short decisions of a conversation that is alone together; see `GatheredReader`.
    """
    parts = [stretches(example, grad_window) for example in examples]
    if gather and len(examples) == 1 and len(groups := stretches_group(parts[0])) < len(parts[0]):
        yield from _gathered_walk(model, examples[0], device, groups)
        return
    order = sorted(range(len(examples)), key=lambda index: -len(parts[index]))
    rows = [parts[index] for index in order]  # those with most decisions first
    reader = StreamReader(model, [examples[index].token_ids for index in order], rows, device)
    for number in range(max(map(len, rows), default=0)):
        active = [row[number] for row in rows if number < len(row)]
        reader.turn(number)
        reader.context()
        wanted = [(row, place) for row, part in enumerate(active) for place in part.targets]
        places = [(row, place - 1 - active[row].start) for row, place in wanted]
        targets = [reader.token_ids[row][place] for row, place in wanted]
        rows_of = [order[row] for row, _ in wanted]
        yield _decisions(model, places, reader.decision, targets, rows_of)
        reader.detach()


def _gathered_walk(
    model: nn.Module,
    example: EncodedExample,
    device: torch.device,
    groups: Sequence[Sequence[Stretch]],
) -> Iterator[Decisions]:
    reader = GatheredReader(model, example.token_ids, device)
    for group in groups:
        reader.context(group[-1].start)
        targets = [example.token_ids[place] for part in group for place in part.targets]
        read = partial(reader.decisions, group)
        yield _decisions(model, _columns(group), read, targets, [0] * len(targets))
        reader.keep(group[-1])


def _decisions(
    model: nn.Module,
    places: Sequence[tuple[int, int]],
    read: Callable[[], torch.Tensor],
    targets: list[int],
    rows: list[int],
) -> Decisions:
    """Read with the head on some places. Who yields this must not hold it too: during the backward
    nobody needs the logits, and with a large vocabulary they are large."""
    with head_on(model, places):
        return Decisions(logits=read(), targets=targets, rows=rows)


def _columns(group: Sequence[Stretch]) -> list[tuple[int, int]]:
    """Where the targets' predictions stand when the stretches are read one behind the other."""
    columns, offset = [], 0
    for part in group:
        columns += [(0, offset + place - 1 - part.start) for place in part.targets]
        offset += part.end - part.start
    return columns


def frozen_losses(
    model: nn.Module,
    examples: Sequence[EncodedExample],
    device: torch.device,
    *,
    grad_window: int = 0,
    gather: bool = False,
) -> Iterator[DecisionLoss]:
    """Yield the losses of `decisions_walk`; call backward on each before asking for the next."""
    walk = decisions_walk(model, examples, device, grad_window=grad_window, gather=gather)
    # Not a loop: its variable would hold the logits while the caller goes backward.
    yield from map(partial(_loss, conversations=len(examples)), walk)


def masked_losses(
    model: nn.Module, examples: Sequence[EncodedExample], device: torch.device
) -> Iterator[DecisionLoss]:
    """Yield one loss over all decisions of the examples, with gradient through the context.

    Shorter examples are padded at their end, where a causal model never looks.
    """
    wanted = [
        (row, place)
        for row, example in enumerate(examples)
        for part in stretches(example)
        for place in part.targets
    ]
    if not wanted:
        return
    length = max(place for _, place in wanted)
    tokens = [example.token_ids[:length] for example in examples]
    padded = [ids + [0] * (length - len(ids)) for ids in tokens]

    def read() -> torch.Tensor:
        ids = torch.tensor(padded, device=device)
        logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits[0]
        return logits

    places = [(row, place - 1) for row, place in wanted]
    targets = [examples[row].token_ids[place] for row, place in wanted]
    rows = [row for row, _ in wanted]
    yield _loss(_decisions(model, places, read, targets, rows), len(examples))


_HEAD_IS_WHOLE = ContextVar("head_is_whole", default=False)


@contextmanager
def head_whole() -> Iterator[None]:
    """Have the head read all places again, for a pass in the middle of another's `head_on`."""
    token = _HEAD_IS_WHOLE.set(True)
    try:
        yield
    finally:
        _HEAD_IS_WHOLE.reset(token)


@contextmanager
def head_on(model: nn.Module, places: Sequence[tuple[int, int]]) -> Iterator[None]:
    """Have the model's head read some places only and give logits (1, places, vocabulary).

    places: (row, column) in the hidden states (rows, columns, width).
    """
    head: nn.Module = base_model(model).get_output_embeddings()

    def choose(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        if _HEAD_IS_WHOLE.get():
            return inputs
        hidden, *rest = inputs
        rows, columns = torch.tensor(places, device=hidden.device).unbind(1)
        return hidden[rows, columns].unsqueeze(0), *rest

    handle = head.register_forward_pre_hook(choose)
    try:
        yield
    finally:
        handle.remove()


def _loss(decisions: Decisions, conversations: int) -> DecisionLoss:
    """Return the loss, in float32 whatever the model computes in."""
    device = decisions.logits.device
    targets = torch.tensor(decisions.targets, device=device)
    logits = decisions.logits.float()
    nll = nn.functional.cross_entropy(logits, targets, reduction="none")  # (targets,)
    nll_sums = torch.zeros(conversations, dtype=nll.dtype, device=device)
    nll_sums.index_add_(0, torch.tensor(decisions.rows, device=device), nll.detach())
    counts = tuple(decisions.rows.count(index) for index in range(conversations))
    return DecisionLoss(nll_sum=nll.sum(), nll_sums=nll_sums, token_counts=counts)
