"""Matrix products: faster ones in float32 on CPUs, and one with weights that are not kept.

torch gives float32 products to MKL, which keeps to AVX2 on processors that are not Intel's; oneDNN,
which torch also carries, uses AVX-512 wherever it is. On two cores of an AMD EPYC that is 2.2 times
as fast, to the same rounding (docs/results/training.md). Which way is taken depends on the
processor alone, never on a trial, so that a session which is resumed goes on in the same
arithmetic.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from engine.process import Heap

_ONEDNN = "mkldnn"
_Parts = list[tuple[torch.Tensor, torch.Tensor]]
"""Gradients of outputs (tokens, out_features), each with its inputs (tokens, in_features)."""
_TOKENS_GATHERED = 256
"""Enough for a product at full speed; more would keep more activations alive."""
_CACHED_NUMBERS = 1 << 21
"""Numbers of a product that are added while the processor's cache still holds them."""


def onednn_is_faster() -> bool:
    """Whether this processor has AVX-512 and torch was built with oneDNN's linear product."""
    return (
        torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and hasattr(getattr(torch.ops, _ONEDNN), "_linear_pointwise")
    )


def linear_layers_prepare(model: nn.Module) -> int:
    """Have oneDNN multiply in all float32 linear layers of a model on the CPU.

    Returns how many layers that are. Subclasses of nn.Linear are left as they are: they may compute
    something else. A layer that goes to another device or dtype later falls back to torch's way.
    """
    if not onednn_is_faster():
        return 0
    layers = [module for module in model.modules() if type(module) is nn.Linear]
    for layer in layers:
        layer.__class__ = OneDnnLinear
    return len(layers)


class OneDnnLinear(nn.Linear):
    """A linear layer like nn.Linear, (..., in_features) -> (..., out_features)."""

    gathering: ClassVar["WeightGradients | None"] = None
    """Where gradients of weights go for now in place of autograd's own sum."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return inputs · weightᵀ + bias."""
        if not _fits(inputs) or not _fits(self.weight):
            return super().forward(inputs)
        result: torch.Tensor = _Product.apply(inputs, self.weight, self.bias)
        return result


def _fits(tensor: torch.Tensor) -> bool:
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.numel() > 0


def _multiply(
    inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """inputs (..., a) · weight (b, a)ᵀ + bias (b,); both may be transposed views."""
    operation = getattr(torch.ops, _ONEDNN)._linear_pointwise
    result: torch.Tensor = operation(inputs, weight, bias, "none", [], "")
    return result


class _Product(torch.autograd.Function):
    """The product and its backward, all three of whose products oneDNN computes."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(inputs, weight)
        return _multiply(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        rows = gradient.flatten(0, -2)  # (tokens, out_features)
        to_inputs = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_inputs = _multiply(gradient, weight.t())
        if ctx.needs_input_grad[1]:
            gathering = OneDnnLinear.gathering
            if gathering is None or not weight.is_leaf:
                to_weight = _multiply(rows.t(), inputs.flatten(0, -2).t())
            else:
                gathering.add(weight, rows, inputs.flatten(0, -2))
        if ctx.needs_input_grad[2]:
            to_bias = rows.sum(0)
        return to_inputs, to_weight, to_bias


class WeightGradients:
    """Gradients of weights, made for several backwards at once.

    A backward over a few tokens spends more time on adding its gradient to what is there than on
    computing it. So what the product is made of is kept until there are enough tokens, and added to
    `weight.grad` then. The sum is the same, in another order.
    """

    def __init__(self) -> None:
        self._parts: dict[nn.Parameter, _Parts] = {}
        self.begun = False
        """Whether some weight has its gradient, or part of it."""

    def add(self, weight: nn.Parameter, gradient: torch.Tensor, inputs: torch.Tensor) -> None:
        """gradient: (tokens, out_features), of the outputs; inputs: (tokens, in_features)."""
        parts = self._parts.setdefault(weight, [])
        parts.append((gradient, inputs))
        if sum(len(rows) for rows, _ in parts) >= _TOKENS_GATHERED:
            self._join(weight, self._parts.pop(weight))

    def finish(self) -> None:
        """Add what is left, and give its memory back layer by layer, the head's first: it is most.

        The heap is trimmed where no gradient is there yet; else activations and gradients have been
        there together, and to trim it would only cost the next step its pages.
        """
        left = list(self._parts)
        for weight in left if self.begun else Heap().trimming(left):
            self._join(weight, self._parts.pop(weight))

    def _join(self, weight: nn.Parameter, parts: _Parts) -> None:
        self.begun = True
        _gradient_add(weight, parts)

    @classmethod
    @contextmanager
    def gathered(cls, model: nn.Module) -> Iterator[Self]:
        """Gather until the end of the with block; then every gradient is complete."""
        gathering = {m.weight for m in model.modules() if isinstance(m, OneDnnLinear)}
        for module in model.modules():
            # Rows of an embedding are added in place only where there is a dense gradient already,
            # and its head's, which comes before it elsewhere, is not there yet.
            waits = isinstance(module, nn.Embedding) and module.sparse
            if waits and module.weight in gathering and module.weight.grad is None:
                module.weight.grad = torch.zeros_like(module.weight)
        gradients = cls()
        OneDnnLinear.gathering = gradients
        try:
            with Heap().activations():
                yield gradients
            gradients.finish()
        finally:
            OneDnnLinear.gathering = None


def _gradient_add(weight: nn.Parameter, parts: _Parts) -> None:
    rows = torch.cat([gradient for gradient, _ in parts]) if len(parts) > 1 else parts[0][0]
    inputs = torch.cat([one for _, one in parts]) if len(parts) > 1 else parts[0][1]
    if weight.grad is None:
        weight.grad = _multiply(rows.t(), inputs.t())
        return
    size = max(1, _CACHED_NUMBERS // inputs.shape[1])
    for start in range(0, len(weight), size):
        weight.grad[start : start + size] += _multiply(rows.t()[start : start + size], inputs.t())


def product_restoring(inputs: torch.Tensor, restored: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Return inputs (..., in_features) · weightᵀ for a weight that does not learn.

    restored: makes the weight (out_features, in_features), for the product and again for the
    gradient of the inputs, so that it is not kept between the two.
    """
    result: torch.Tensor = _Restoring.apply(inputs, restored)
    return result


class _Restoring(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, restored: Callable[[], torch.Tensor]
    ) -> torch.Tensor:
        ctx.restored = restored
        return nn.functional.linear(inputs, restored())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient @ ctx.restored(), None
