"""Several short decisions of one conversation in one backward.

The context of all of them is read first, without gradient; of the decisions, those that later ones
look back on are read with it. Then all run side by side with gradient, one after the other in one
row of tokens, and masks let each see the context before it and itself. What is learnt is the same
as decision by decision, to rounding. It costs a forward more for all but the last of them, and
saves what a backward costs whatever its length: passes over all weights and all their gradients.
"""

from collections.abc import Sequence

import torch
from torch import nn

from training.frozen.caches import StreamCache
from training.frozen.masks import layer_masks
from training.frozen.reader import base_model, caching_check, context_read
from training.frozen.stretches import Stretch


class GatheredReader:
    """Walks through one conversation, a group of decisions at a time.

    For models that keep keys and values alone and bear masks of our own.
    """

    def __init__(self, model: nn.Module, token_ids: list[int], device: torch.device) -> None:
        caching_check(model)
        self.model = model
        self.base = base_model(model)
        self.token_ids = token_ids
        self.device = device
        self.cache = StreamCache(self.base.config, whole=True)
        self.read = 0
        """Tokens that the cache holds, from the conversation's beginning."""

    def context(self, end: int) -> None:
        """Read tokens up to `end` without gradient."""
        if end > self.read:
            ids = torch.tensor([self.token_ids[self.read : end]], device=self.device)
            inputs = {"input_ids": ids, "past_key_values": self.cache, "use_cache": True}
            context_read(self.base, self.cache, inputs)
            self.read = end

    def decisions(self, group: Sequence[Stretch]) -> torch.Tensor:
        """Read a group's stretches with gradient; return the logits, without their first axis."""
        positions = torch.cat([torch.arange(part.start, part.end) for part in group])
        lengths = torch.tensor([part.end - part.start for part in group])
        number = torch.arange(len(group)).repeat_interleave(lengths)  # (new,) whose stretch
        starts = torch.tensor([part.start for part in group])[number]
        cached = torch.arange(self.read)
        before = cached < starts.unsqueeze(1)  # (new, cached)
        own = (number == number.unsqueeze(1)) & (positions <= positions.unsqueeze(1))
        seen = torch.cat([before, own], dim=1).unsqueeze(0).to(self.device)
        distance = positions.unsqueeze(1) - torch.cat([cached, positions])
        distance = distance.unsqueeze(0).to(self.device)
        output = self.model(
            input_ids=torch.tensor(self.token_ids)[positions].unsqueeze(0).to(self.device),
            position_ids=positions.unsqueeze(0).to(self.device),
            attention_mask=layer_masks(self.base, self.cache.windows, seen, distance),
            past_key_values=self.cache,
            use_cache=True,
        )
        logits: torch.Tensor = output.logits[0]
        return logits

    def keep(self, last: Stretch) -> None:
        """Keep of a group's stretches the last one, as context of what follows."""
        length = last.end - last.start

        def joined(tensor: torch.Tensor) -> torch.Tensor:
            kept = [tensor[..., : last.start, :], tensor[..., -length:, :]]
            return torch.cat(kept, dim=-2).detach()

        self.cache.change(joined)
        self.read = last.end
