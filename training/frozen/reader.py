"""Reads conversations from left to right, side by side, through one cache."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from training.config import CONTEXT_TOKENS
from training.frozen.caches import CacheFilledError, StreamCache
from training.frozen.latents import context_constant, latent_projections
from training.frozen.masks import layer_masks
from training.frozen.stretches import Stretch


def base_model(model: nn.Module) -> Any:
    """Return the transformers model inside a PEFT model, or the model itself."""
    get_base_model: Any = getattr(model, "get_base_model", None)
    return model if get_base_model is None else get_base_model()


def caching_check(model: nn.Module) -> None:
    """Refuse, by ValueError, what would make a forward without a cache of a forward with one."""
    modules = base_model(model).modules()
    if model.training and any(getattr(one, "gradient_checkpointing", False) for one in modules):
        raise ValueError("gradient checkpointing switches the cache off, silently")


def context_read(base: Any, cache: StreamCache, inputs: dict[str, Any]) -> None:
    """Read tokens into the cache, without gradient and without logits."""
    # FSDP's hooks after a module must run, or it stays gathered.
    cache.only_fill = not isinstance(base, FSDPModule)
    with torch.no_grad(), suppress(CacheFilledError):
        base.get_decoder()(**inputs)
    cache.only_fill = False


def begins_without_mask(base: Any, windows: Iterable[int | None]) -> bool:
    """Whether a first pass needs no mask: torch's own attention knows causal by itself, without
    windows. Then one pass over all is faster than several, and nothing in it is quadratic."""
    no_windows = all(window is None for window in windows)
    # Gemma-2, which is read with plain products all the same, has windows.
    return no_windows and base.get_correct_attn_implementation(None) == "sdpa"


def read_ends(
    read: Sequence[int], starts: Sequence[int], *, at_once: bool = False
) -> Iterator[list[int]]:
    """Yield how far each conversation is read, pass by pass, from `read` up to `starts`.

    A pass takes at most CONTEXT_TOKENS of each, so that masks and scores do not grow with the
    square of a long context; `at_once`: where there are none in a first pass, it takes all. Passes
    are of the same length: a single token that is left over would take another way through models
    with a recurrent state.
    """
    if at_once and not any(read):
        if any(starts):
            yield list(starts)
        return
    left = [start - before for start, before in zip(starts, read, strict=True)]
    passes = math.ceil(max(left, default=0) / CONTEXT_TOKENS)
    for number in range(1, passes + 1):
        parts = [count * number // passes for count in left]
        yield [before + part for before, part in zip(read, parts, strict=True)]


class StreamReader:
    """Walks through conversations, one decision of each at a time.

    Where all of them have the same stretches (one conversation always has), no token is padded,
    and the model's own masks and windows hold. Elsewhere every part that is read ends in pads for
    the conversations in which it is shorter, and the masks are made here from the tokens'
    positions: a token sees what stands at or before its own position, in its own conversation and
    within the layer's window. Cutting a window back only hides what comes after it.
    """

    def __init__(
        self,
        model: nn.Module,
        token_ids: Sequence[list[int]],
        rows: Sequence[Sequence[Stretch]],
        device: torch.device,
    ) -> None:
        """rows: the stretches of each conversation, those with most stretches first."""
        self.model = model
        self.base = base_model(model)
        self._latents = latent_projections(self.base)
        caching_check(model)
        self.token_ids = token_ids
        self.rows = rows
        self.device = device
        self.is_padded = any(_extent(row) != _extent(rows[0]) for row in rows)
        # Without the config a hybrid model's cache gets the wrong kinds of layers.
        self.cache = StreamCache(self.base.config, whole=self.is_padded)
        self._at_once = begins_without_mask(self.base, self.cache.windows)
        self.read = [0] * len(rows)
        """Of each conversation, the tokens that the cache holds."""
        self.places = torch.zeros(len(rows), 0, dtype=torch.long, device=device)
        """(conversations, cached tokens) Position of each; below 0 for what nothing may see."""
        self._number = 0
        self._kept: tuple[StreamCache, list[int]] | None = None

    def turn(self, number: int) -> None:
        """Turn to decision `number` of each conversation that has so many."""
        self._number = number
        count = sum(number < len(row) for row in self.rows)
        if count < len(self.read):
            self.cache.first(count)
            self.read, self.places = self.read[:count], self.places[:count]
        self._back()

    def _starts(self) -> list[int]:
        return [row[self._number].start for row in self.rows[: len(self.read)]]

    def _back(self) -> None:
        """Go back to where a window begins that reaches into what was read already."""
        starts = self._starts()
        if all(start >= read for start, read in zip(starts, self.read, strict=True)):
            return
        if self.is_padded:
            limits = torch.tensor(starts, device=self.device).unsqueeze(1)
            self.places = torch.where(self.places < limits, self.places, -1)
            self.read = [min(pair) for pair in zip(starts, self.read, strict=True)]
        elif self.cache.is_plain:
            self.cache.shorten(starts[0])
            self.read = starts
        elif self._kept is not None:
            self.cache, self.read = self._kept

    def context(self) -> None:
        """Read up to the stretches' starts, without gradient and without logits."""
        for ends in read_ends(self.read, self._starts(), at_once=self._at_once):
            context_read(self.base, self.cache, self._inputs(ends))
            self.read = ends

    def decision(self) -> torch.Tensor:
        """Read the stretches with gradient; return the model's logits, without its first axis."""
        if not self.is_padded and not self.cache.is_plain and self._reaches_back():
            self._kept = self.cache.fork(), list(self.read)
        ends = [row[self._number].end for row in self.rows[: len(self.read)]]
        cached = self.places.shape[1] if self.is_padded else self.read[0]
        inputs = self._inputs(ends)
        with context_constant(self._latents, cached):
            logits: torch.Tensor = self.model(**inputs).logits[0]
        self.read = ends
        return logits

    def _reaches_back(self) -> bool:
        """Whether the next window begins within this stretch; of conversations that are alike."""
        row = self.rows[0]
        following = self._number + 1
        return following < len(row) and row[following].start < row[self._number].end

    def detach(self) -> None:
        """Cut the cache off the graph, so that a decision that is done becomes context."""
        self.cache.detach()

    def _inputs(self, ends: Sequence[int]) -> dict[str, Any]:
        """What the model gets to read each conversation up to its end."""
        parts = [
            ids[start:end] for ids, start, end in zip(self.token_ids, self.read, ends, strict=False)
        ]
        length = max(map(len, parts))
        ids = torch.tensor([part + [0] * (length - len(part)) for part in parts])
        inputs = {
            "input_ids": ids.to(self.device),
            "past_key_values": self.cache,
            "use_cache": True,
        }
        if self.is_padded:
            inputs |= self._placed(torch.tensor([len(part) for part in parts]), length)
        return inputs

    def _placed(self, lengths: torch.Tensor, length: int) -> dict[str, Any]:
        """Positions and masks for parts of these lengths, padded to `length`."""
        columns = torch.arange(length, device=self.device)
        lengths = lengths.to(self.device).unsqueeze(1)
        first = torch.tensor(self.read, device=self.device).unsqueeze(1)
        positions = first + columns  # (conversations, length)
        places = torch.where(columns < lengths, positions, -1)
        before, self.places = self.places, torch.cat([self.places, places], dim=1)
        last = positions.gather(1, lengths.clamp(min=1) - 1)
        # Positions of pads mean nothing, but must be such as the model knows.
        inputs: dict[str, Any] = {"position_ids": torch.minimum(positions, last)}
        if before.shape[1]:  # else pads stand after everything, where a causal model never looks
            inputs["attention_mask"] = self._masks(positions)
        return inputs

    def _masks(self, positions: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """The masks of full attention and of windows, (conversations, 1, length, cached)."""
        total, length = self.places.shape[1], positions.shape[1]
        slots = torch.arange(total, device=self.device)
        own = slots == slots[total - length :].unsqueeze(1)  # (length, cached)
        places = self.places.unsqueeze(1)
        seen = (places >= 0) & (places <= positions.unsqueeze(2))
        # Pads see themselves, for the softmax over nothing is not a number.
        windows = self.cache.windows
        return layer_masks(self.base, windows, seen, positions, self.places, always=own)


def _extent(row: Sequence[Stretch]) -> list[tuple[int, int]]:
    return [(stretch.start, stretch.end) for stretch in row]
