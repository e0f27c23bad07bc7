"""A layer in few bits: what it holds, what it multiplies with, and the gradient it passes on."""

from typing import Any

import pytest
import torch
from torch.nn.functional import linear

from engine.packages import package_show
from training.methods.lora import quantised_bytes
from training.quantised.layers import Quantised, QuantisedLinear
from training.tensors.originals import Original

package_show("bitsandbytes")
OFF = {4: 0.11, 8: 0.01}
"""How far a matrix of normally distributed numbers may be off, of its norm."""


class Given(Original):
    """A weight that is at hand, in place of one in files."""

    def read(self) -> torch.Tensor:
        return self.tensors  # type: ignore[return-value]


def layer_of(weight: torch.Tensor, bits: int, bias: Any = None) -> QuantisedLinear:
    original = Given(
        name="up",
        shape=tuple(weight.shape),
        dtype=weight.dtype,
        device=weight.device,
        group=None,  # type: ignore[arg-type]
        tensors=weight,  # type: ignore[arg-type]
        places={},
    )
    layer = QuantisedLinear(original, bias)
    off, size = layer.fill(bits)
    assert off == pytest.approx((layer.weight.float() - weight.float()).norm().item() ** 2)
    assert size == pytest.approx(weight.float().norm().item() ** 2)
    return layer


@pytest.fixture
def drawn(either_device: str) -> Any:
    generator = torch.Generator().manual_seed(7)

    def draw(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(either_device, dtype)

    return draw


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
# Rows shorter than a block, odd ones and a block that is not full.
@pytest.mark.parametrize("shape", [(32, 32), (16, 16), (33, 7), (130, 70), (64, 192)])
def test_a_weight_comes_back_nearly(
    drawn: Any, shape: tuple[int, int], dtype: torch.dtype, bits: int
) -> None:
    weight = drawn(*shape, dtype=dtype)
    held = Quantised.of(weight, bits)
    back = held.restored()
    assert (back.shape, back.dtype, back.device) == (weight.shape, dtype, weight.device)
    off = (back.float() - weight.float()).norm() / weight.float().norm()
    assert 0 < off.item() < OFF[bits]
    assert torch.equal(back, held.restored())
    assert held.size_bytes == quantised_bytes(weight.numel(), bits)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_levels_are_those_of_the_papers(drawn: Any, bits: int) -> None:
    """Every number becomes the nearest of its block's levels, to the rounding of scales."""
    weight = drawn(8, 64)
    scales = weight.abs().amax(1, keepdim=True)
    nf4 = [-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.09105004, 0.0]
    nf4 += [0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0]
    even = torch.linspace(-127, 127, 255) / 127
    levels = (torch.tensor(nf4) if bits == 4 else even).to(weight.device)
    nearest = (weight / scales)[..., None].sub(levels).abs().argmin(-1)
    expected = levels[nearest] * scales
    back = Quantised.of(weight, bits).restored()
    assert (back - expected).abs().max().item() < 0.01 * scales.max().item()


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_it_multiplies_with_the_restored_weight_and_keeps_none_of_it(
    drawn: Any, dtype: torch.dtype, bits: int
) -> None:
    """The oracle: autograd through the restored weight. Beside it nothing as large is kept."""
    layer = layer_of(drawn(48, 64, dtype=dtype), bits, torch.nn.Parameter(drawn(48, dtype=dtype)))
    inputs = drawn(2, 5, 64, dtype=dtype).requires_grad_()
    kept: list[int] = []

    def keep(one: torch.Tensor) -> torch.Tensor:
        kept.append(one.numel())
        return one

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        outputs = layer(inputs)
    assert all(count < 48 * 64 for count in kept)
    gradient = drawn(2, 5, 48, dtype=dtype)
    (ours,) = torch.autograd.grad(outputs, inputs, gradient)
    assert layer.bias is not None
    plain = linear(inputs, layer.weight) + layer.bias
    (theirs,) = torch.autograd.grad(plain, inputs, gradient)
    assert torch.equal(outputs, plain)
    torch.testing.assert_close(ours, theirs)
    assert not any(name == "weight" for name, _ in layer.named_parameters())
