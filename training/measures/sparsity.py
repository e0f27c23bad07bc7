"""How much of a gradient is nearly nothing: the share of small entries, and of rows of them.

An entry is small where it is at most 1e-3 of the largest entry of its own tensor, in absolute
value. Shares are taken over all tensors that learn: small entries ÷ entries, and small rows ÷ rows
(of tensors with two or more dimensions, a row being what one output reads). A gradient that is
zero or absent is small throughout.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

THRESHOLD = 1e-3
_PART_ENTRIES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Sparsity:
    """The shares of one gradient."""

    entries_share: float
    """Small entries ÷ entries."""
    rows_share: float | None
    """Rows of nothing but small entries ÷ rows; None where no tensor has rows."""


@torch.no_grad()
def gradient_sparsity(parameters: Iterable[nn.Parameter]) -> Sparsity:
    """Measure the gradients as they stand; one wait for the device, whatever their number.

    Raises ValueError without a parameter that learns.
    """
    entries = rows = absent_entries = absent_rows = 0
    counted: list[torch.Tensor] = []
    for parameter in parameters:
        if not parameter.requires_grad:
            continue
        own_rows = parameter.numel() // parameter.shape[-1] if parameter.ndim >= 2 else 0
        entries += parameter.numel()
        rows += own_rows
        if parameter.grad is None:
            absent_entries += parameter.numel()
            absent_rows += own_rows
        else:
            counted.append(_count(parameter.grad))
    if not entries:
        raise ValueError("nothing learns")
    small = torch.stack(counted).sum(0).tolist() if counted else [0, 0]
    return Sparsity(
        entries_share=(small[0] + absent_entries) / entries,
        rows_share=(small[1] + absent_rows) / rows if rows else None,
    )


def _count(gradient: torch.Tensor) -> torch.Tensor:
    """Return (2,): small entries and small rows of one tensor, 0 rows of a vector."""
    limit = torch.linalg.vector_norm(gradient, float("inf")) * THRESHOLD
    lines = gradient.flatten(0, -2) if gradient.ndim >= 2 else gradient[None]  # (rows, columns)
    entries = torch.zeros((), dtype=torch.int64, device=gradient.device)
    rows = torch.zeros_like(entries)
    for part in lines.split(max(1, _PART_ENTRIES // lines.shape[1])):
        small = part.abs() <= limit
        entries += small.sum()
        rows += small.all(1).sum()
    return torch.stack([entries, rows if gradient.ndim >= 2 else torch.zeros_like(rows)])
