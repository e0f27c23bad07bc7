"""Weights that a model in training holds rounded to few bits: as the parent's files have them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from engine.tensorfiles import TensorPlace
from training.tensors.mapping import Group, TensorMap
from training.tensors.stored import whole_read


@dataclass(frozen=True, kw_only=True)
class Original:
    """One weight in the parent's own numbers. It is measured and merged by these, and read from the
    files each time, for in memory it would be what rounding spares."""

    name: str
    """As the plain model names it."""
    shape: tuple[int, ...]
    dtype: torch.dtype
    """In which it is given: the run's own."""
    device: torch.device
    """To which it is given."""
    group: Group
    tensors: TensorMap = field(repr=False)
    places: Mapping[str, TensorPlace] = field(repr=False)
    """Of all tensors of the parent's files."""

    @property
    def ndim(self) -> int:
        """Axes of the weight."""
        return len(self.shape)

    def numel(self) -> int:
        """Return how many numbers the weight has."""
        return math.prod(self.shape)

    @torch.no_grad()
    def read(self) -> torch.Tensor:
        """Return the weight; OSError where the files have changed since the run began."""
        parts = {name: whole_read(self.places[name]) for name in self.group.files}
        made = self.tensors.loaded(self.group, parts)[self.name]
        return made.to(self.device, self.dtype)
