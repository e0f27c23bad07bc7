"""The gradient of context-frozen training another way: one plain forward without any cache.

Whatever a module without children says of the tokens before the split is cut off the graph: then
nothing but constants reaches the later tokens from the earlier ones, whatever the architecture.
Slow, and with all the memory of ordinary training; it is what the streaming is checked against.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from training.frozen.reader import base_model


@contextmanager
def cut_before(model: nn.Module, split: int, length: int) -> Iterator[set[nn.Module]]:
    """Cut tokens 0..split-1 of conversations of `length` tokens off the graph.

    Gives the modules whose outputs were cut: for their parameters the gradient is that of frozen
    context. Parameters that are used elsewhere (a kernel of linear attention that is not a module)
    get some gradient from the context too. `length` must be unlike every other dimension.
    """
    cut: set[nn.Module] = set()

    def detach(module: nn.Module, _: object, output: object) -> torch.Tensor | None:
        if not isinstance(output, torch.Tensor) or list(output.shape).count(length) != 1:
            return None
        cut.add(module)
        axis = list(output.shape).index(length)
        before, after = output.split([split, length - split], dim=axis)
        return torch.cat([before.detach(), after], dim=axis)

    leaves = [module for module in model.modules() if next(module.children(), None) is None]
    handles = [leaf.register_forward_hook(detach) for leaf in leaves]
    try:
        yield cut
    finally:
        for handle in handles:
            handle.remove()


def odd_length(model: nn.Module, minimum: int) -> int:
    """Return a prime of at least `minimum` that is not a dimension of any parameter."""
    sizes = {size for parameter in model.parameters() for size in parameter.shape}
    length = minimum
    while length in sizes or any(length % factor == 0 for factor in range(2, length)):
        length += 1
    return length


@contextmanager
def layers_recomputed(model: nn.Module) -> Iterator[None]:
    """Keep only the layers' inputs for the backward, also where the model is in eval mode."""
    layers: list[Any] = [
        m for m in base_model(model).modules() if isinstance(m, GradientCheckpointingLayer)
    ]
    modes = [layer.training for layer in layers]
    base_model(model).activation_checkpointing_enable()
    for layer in layers:
        layer.training = True  # of the layer alone: its parts, dropout too, stay as they are
    try:
        yield
    finally:
        base_model(model).activation_checkpointing_disable()
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode
