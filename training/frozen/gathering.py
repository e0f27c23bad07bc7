"""Several short decisions of one conversation in one backward.

The context of all of them is read first, without gradient; of the decisions, those that later ones
look back on are read with it. Then all run side by side with gradient, one after the other in one
row of tokens, and masks let each see the context before it and itself. What is learnt is the same
as decision by decision, to rounding. It costs a forward more for all but the last of them, and
saves what a backward costs whatever its length: passes over all weights and all their gradients.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from training.frozen.caches import StreamCache
from training.frozen.latents import context_constant, latent_projections
from training.frozen.masks import layer_masks
from training.frozen.reader import (
    base_model,
    begins_without_mask,
    caching_check,
    context_read,
    read_ends,
)
from training.frozen.stretches import Stretch


class GatheredReader:
    """Walks through one conversation, a group of decisions at a time.

    For models that keep keys and values alone and bear masks of our own.
    """

    def __init__(self, model: nn.Module, token_ids: list[int], device: torch.device) -> None:
        caching_check(model)
        self.model = model
        self.base = base_model(model)
        self._latents = latent_projections(self.base)
        self._ids = torch.tensor(token_ids, device=device)
        self.device = device
        self.cache = StreamCache(self.base.config, whole=True)
        self._at_once = begins_without_mask(self.base, self.cache.windows)
        self.read = 0
        """Tokens that the cache holds, from the conversation's beginning."""

    def context(self, end: int) -> None:
        """Read tokens up to `end` without gradient."""
        for (part_end,) in read_ends([self.read], [end], at_once=self._at_once):
            positions = torch.arange(self.read, part_end, device=self.device)
            # With nothing cached it is causal, for which attention has a faster way than masks.
            seen = None
            if self.read:
                all_before = torch.arange(part_end, device=self.device)
                seen = all_before <= positions.unsqueeze(1)
            context_read(self.base, self.cache, self._inputs(positions, seen))
            self.read = part_end

    def decisions(self, group: Sequence[Stretch]) -> torch.Tensor:
        """Read a group's stretches with gradient; return the logits, without their first axis."""
        places = [torch.arange(part.start, part.end) for part in group]
        positions = torch.cat(places).to(self.device)
        lengths = torch.tensor([part.end - part.start for part in group])
        number = torch.arange(len(group)).repeat_interleave(lengths)  # (new,) whose stretch
        starts = torch.tensor([part.start for part in group])[number].to(self.device)
        number = number.to(self.device)
        cached = torch.arange(self.read, device=self.device)
        before = cached < starts.unsqueeze(1)  # (new, cached)
        own = (number == number.unsqueeze(1)) & (positions <= positions.unsqueeze(1))
        seen = torch.cat([before, own], dim=1)
        with context_constant(self._latents, self.read):
            logits: torch.Tensor = self.model(**self._inputs(positions, seen)).logits[0]
        return logits

    def _inputs(self, positions: torch.Tensor, seen: torch.Tensor | None) -> dict[str, Any]:
        """What the model gets to read the tokens at some positions behind those that are cached.

        seen: (new, cached + new) what each of them sees but for windows; None is all before it.
        """
        inputs = {
            "input_ids": self._ids[positions].unsqueeze(0),
            "position_ids": positions.unsqueeze(0),
            "past_key_values": self.cache,
            "use_cache": True,
        }
        if seen is not None:
            cached = torch.arange(self.read, device=self.device)
            seen_of = (seen, positions, torch.cat([cached, positions]))
            made_of = (one.unsqueeze(0) for one in seen_of)
            inputs["attention_mask"] = layer_masks(self.base, self.cache.windows, *made_of)
        return inputs

    def keep(self, last: Stretch) -> None:
        """Keep of a group's stretches the last one, as context of what follows."""
        length = last.end - last.start

        def joined(tensor: torch.Tensor) -> torch.Tensor:
            kept = [tensor[..., : last.start, :], tensor[..., -length:, :]]
            return torch.cat(kept, dim=-2).detach()

        self.cache.change(joined)
        self.read = last.end
