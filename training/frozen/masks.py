"""Attention masks of our own, made from the positions of tokens."""

from collections.abc import Iterable
from typing import Any

import torch


def layer_masks(
    base: Any,
    windows: Iterable[int | None],
    seen: torch.Tensor,
    positions: torch.Tensor,
    places: torch.Tensor,
    always: torch.Tensor | None = None,
) -> torch.Tensor | dict[str, torch.Tensor]:
    """Return what a model takes as `attention_mask`: by kind of layer where it has several.

    windows: of each layer, in tokens, or None. seen: (rows, new, all) what a token sees but for
    the window. positions: (rows, new) of the tokens that look; places: (rows, all) positions of
    what they look at. always: (new, all) what is seen whatever the window. Nothing of the size of
    a mask is made but in one byte or in the model's own number format.
    """
    masks = {}
    for window in set(windows):
        near = seen
        if window is not None:
            near = seen & (places.unsqueeze(1) > (positions - window).unsqueeze(2))
        name = "full_attention" if window is None else "sliding_attention"
        mask = near if always is None else near | always
        masks[name] = _added(mask.unsqueeze(1), base.dtype)
    return masks if len(masks) > 1 else next(iter(masks.values()))


def _added(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What is added to attention's scores: of a yes or no, torch would make it in every layer."""
    hidden = torch.finfo(dtype).min
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, hidden)
