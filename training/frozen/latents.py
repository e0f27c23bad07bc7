"""Attention that keeps latents in place of keys and values (DeepSeek's MLA and its like).

Every pass makes keys and values anew out of all latents, those of the context too, and the matrix
that does it is trained. What it makes of the context is kept off the graph here, so that context is
as constant as where keys and values are kept themselves.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def latent_projections(base: nn.Module) -> list[nn.Module]:
    """Return the layers that make keys and values out of latents; [] where none keeps latents."""
    modules: Iterator[Any] = base.modules()
    return [module.kv_b_proj for module in modules if hasattr(module, "expand_kv")]


@contextmanager
def context_constant(projections: Sequence[nn.Module], cached: int) -> Iterator[None]:
    """Within, let no gradient through what they make of the first `cached` latents."""

    def cut(_: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
        """output: (conversations, 1, cached + new, width)."""
        before, new = output.split([cached, output.shape[-2] - cached], dim=-2)
        return torch.cat([before.detach(), new], dim=-2)

    handles = [one.register_forward_hook(cut) for one in projections] if cached else []
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
