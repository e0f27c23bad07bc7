"""A linear layer whose weight is held in 8 or 4 bit and restored for each product.

The numbers of a weight are taken 64 at a time. In 4 bit they are NF4, whose 16 levels lie where
normally distributed numbers do, and their scales are held in 8 bit (QLoRA, arXiv 2305.14314); in 8
bit they are 255 levels at equal distances, with float32 scales. bitsandbytes rounds and restores,
on CUDA and on the CPU. The layer multiplies with the restored weight in its inputs' precision, in
any pass with the same numbers: so streaming is as close to a plain forward as without, and the
gradient is exactly that of the restored weight.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from engine.products import product_restoring
from training.tensors.originals import Original

BLOCK_NUMBERS = 64
LEVELS_4_BIT = "nf4"


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """A weight in few bits, where its numbers lie."""

    codes: torch.Tensor
    """uint8, of two numbers each in 4 bit."""
    state: Any
    """Scales and dtype, as bitsandbytes keeps them (`QuantState`)."""
    shape: tuple[int, ...]
    bits: int

    @classmethod
    @torch.no_grad()
    def of(cls, weight: torch.Tensor, bits: int) -> "Quantised":
        """Round a weight (outputs, inputs), on its own device."""
        from bitsandbytes import functional

        # As one row: on the CPU bitsandbytes 0.50.2 restores rows of less than a block wrongly.
        flat = weight.reshape(-1)
        if bits == 4:
            codes, state = functional.quantize_4bit(
                flat, quant_type=LEVELS_4_BIT, blocksize=BLOCK_NUMBERS, compress_statistics=True
            )
        else:
            levels = functional.create_linear_map(signed=True, total_bits=8).to(flat.device)
            codes, state = functional.quantize_blockwise(flat, code=levels, blocksize=BLOCK_NUMBERS)
        return cls(codes=codes, state=state, shape=tuple(weight.shape), bits=bits)

    @torch.no_grad()
    def restored(self) -> torch.Tensor:
        """Return the weight (outputs, inputs), in the dtype that it had."""
        from bitsandbytes import functional

        if self.bits == 4:
            weight: torch.Tensor = functional.dequantize_4bit(self.codes, self.state)
        else:
            weight = functional.dequantize_blockwise(self.codes, self.state)
        return weight.reshape(self.shape)

    @property
    def size_bytes(self) -> int:
        """Return the bytes of codes and scales; the table of levels, which is small, left out."""
        tensors = [self.codes, self.state.absmax]
        if self.state.nested:
            tensors.append(self.state.state2.absmax)
        return sum(one.numel() * one.element_size() for one in tensors)


class QuantisedLinear(nn.Module):
    """A linear layer that does not learn, (..., in_features) -> (..., out_features)."""

    quantised: Quantised

    def __init__(self, original: Original, bias: nn.Parameter | None) -> None:
        """original: the weight (out_features, in_features) that `fill` rounds."""
        super().__init__()
        self.original = original
        self.out_features, self.in_features = original.shape
        self.bias = bias

    @torch.no_grad()
    def fill(self, bits: int) -> tuple[float, float]:
        """Read the weight and keep it in so many bits, on the device that it is given to.

        Returns the squares of ‖restored − weight‖ and ‖weight‖.
        """
        whole = self.original.read()
        self.quantised = Quantised.of(whole, bits)
        pair = (self.weight.float() - whole.float(), whole.float())
        off, size = torch.stack([one.norm() for one in pair]).double().square().tolist()
        return off, size

    @property
    def weight(self) -> torch.Tensor:
        """What the layer multiplies with, made anew each time it is asked for."""
        return self.quantised.restored()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return inputs · weightᵀ + bias."""
        product = product_restoring(inputs, self.quantised.restored)
        return product if self.bias is None else product + self.bias

    def extra_repr(self) -> str:
        """Return the sizes, as nn.Linear does."""
        return f"{self.in_features}, {self.out_features}, bits={self.quantised.bits}"
