"""Which weights general text depends on: the diagonal of the Fisher information, for EWC.

F = Σ_e (∂ℓ_e/∂θ)² / Σ_e T_e over general examples e, with ℓ_e the sum of −ln p over the T_e
decision tokens of example e, at the parent's weights. It is the mean of squared PER-EXAMPLE
gradients (Kirkpatrick 2017, arXiv 1612.00796; the square of a batch's gradient would be another
thing), divided by the mean number of tokens: then ½ Σ F (θ − θ_parent)² estimates nats a decision
token, as the task's loss counts them. It is the empirical Fisher: the targets are the data's own
tokens, none are drawn from the model. The gradient is the whole one, through the context too,
whether or not the run freezes it, for this is a property of the model; dropout is off. Layers are
computed once more in the backward, so that the context's activations never lie in memory together:
a token costs four forwards, and holds the layers' inputs only.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn
from transformers.pytorch_utils import Conv1D

from training.frozen.reference import layers_recomputed
from training.frozen.streaming import masked_losses
from training.ranks.group import ALONE, Ranks
from training.samples import Pool, Sample
from training.tensors.parts import cut_axis, held


def fisher_samples(pools: Sequence[Pool], count: int, seed: int) -> list[Sample]:
    """Return up to `count` different general examples, drawn with a seed of their own."""
    general = [sample for pool in pools if pool.kind == "general" for sample in pool.train]
    draw = random.Random(f"{seed}/fisher")  # noqa: S311, a sample and no secret
    return draw.sample(general, min(count, len(general)))


def fisher_measure(
    model: nn.Module,
    weights: Mapping[str, nn.Parameter],
    samples: Sequence[Sample],
    *,
    variant: str,
    device: torch.device,
    on_example: Callable[[int], None],
    ranks: Ranks = ALONE,
    sharded: bool = False,
) -> dict[str, torch.Tensor]:
    """Return F of the named weights in float32; on_example(i) is called before example i.

    Ranks share the samples, of which each is given all, and get the same F. Where they share the
    weights (sharded), whose gradients are summed over them, all read the same sample at a time, and
    each gets F of what it holds.

    diagonal: in a weight's own shape. row: the mean of every output row, with 1 in place of the
    inputs' axis, so that it broadcasts; weights with one axis keep each value.
    Takes one backward an example; each gradient is dropped as soon as it is squared, so no second
    set of gradients is held. Leaves no gradients, and mode and trained weights as they were.
    """
    axes = {name: _input_axis(model, name, weight) for name, weight in weights.items()}
    sums: dict[str, torch.Tensor] = {}

    def square(name: str, weight: torch.Tensor) -> None:
        if weight.grad is None:
            return
        squared = held(weight.grad).float().square()
        weight.grad = None
        axis = axes[name]
        if variant == "row" and axis is not None:
            squared = _mean(squared, axis, weight)
        sums[name] = sums[name].add_(squared) if name in sums else squared

    tokens = 0.0
    own, copies = list(samples), ranks.count if sharded else 1
    if not sharded:
        costs = [len(sample.encoded.token_ids) for sample in samples]
        own = [samples[index] for index in ranks.share(costs)]
    with _gradient_of(model, weights, square), layers_recomputed(model):
        for number, sample in enumerate(own):
            on_example(number)
            for loss in masked_losses(model, [sample.encoded], device):
                (loss.nll_sum / copies).backward()
                tokens += sum(loss.token_counts)
    if not sharded:
        tokens, sums = ranks.sums({"tokens": tokens})["tokens"], ranks.tensors_sum(sums)
    return {name: total / tokens for name, total in sums.items()}


def _mean(squared: torch.Tensor, axis: int, weight: torch.Tensor) -> torch.Tensor:
    """Return the mean of every row; of weights whose rows are cut, over all parts."""
    if cut_axis(weight) != axis:
        return squared.mean(axis, keepdim=True)
    sums = squared.sum(axis, keepdim=True)
    dist.all_reduce(sums)
    return sums / weight.shape[axis]


def _input_axis(model: nn.Module, name: str, weight: torch.Tensor) -> int | None:
    """The axis that a row's mean goes over: that of the inputs, the last but for GPT-2's Conv1D."""
    if weight.ndim < 2:
        return None
    if isinstance(model.get_submodule(name.rpartition(".")[0]), Conv1D):
        return 0
    return weight.ndim - 1


@contextmanager
def _gradient_of(
    model: nn.Module,
    weights: Mapping[str, nn.Parameter],
    on_gradient: Callable[[str, torch.Tensor], None],
) -> Iterator[None]:
    """Let these weights alone get gradient, hand each one over as it comes, dropout off."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    was_training = model.training
    model.eval()
    model.requires_grad_(False)
    handles = []
    for name, weight in weights.items():
        weight.requires_grad_(True)

        def take(parameter: torch.Tensor, name: str = name) -> None:
            on_gradient(name, parameter)

        handles.append(weight.register_post_accumulate_grad_hook(take))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for parameter, required in before:
            parameter.requires_grad_(required)
        model.train(was_training)
