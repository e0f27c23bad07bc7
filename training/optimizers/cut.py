"""How a matrix is cut over processes, for an optimizer that must see whole ones in parts.

FSDP2 cuts each parameter along one axis: rows, columns, or the matrices of a stack. The parts are
DTensors. A matrix's projection P lies along its smaller side. Where the larger side is cut, every
process has whole channels and P as it is. Where the smaller one is (columns that cannot be shared
evenly stay together), every process has its rows of P and a summand of R, and the sum is taken
here, one matrix after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate, Shard

from training.tensors.parts import held_slices, part


@dataclass(frozen=True)
class Cut:
    """Along which axis of a parameter, and where this process's part lies."""

    parameter: Tensor
    axis: int | None
    """None: this process holds all of it."""

    @classmethod
    def of(cls, parameter: Any, name: str = "") -> Self:
        """Return a parameter's; ValueError, by its name, where it is cut along several axes."""
        if not isinstance(parameter, DTensor):
            return cls(parameter, None)
        placements = parameter.placements
        if len(placements) != 1 or not isinstance(placements[0], Shard | Replicate):
            raise ValueError(f"parameter {name} is cut as {placements}: APOLLO knows one axis only")
        (placement,) = placements
        axis = placement.dim if isinstance(placement, Shard) else None
        if parameter.ndim == 3 and axis:
            raise ValueError(f"parameter {name} is a stack of matrices that are cut themselves")
        return cls(parameter, axis)

    @property
    def _smaller(self) -> int:
        rows, columns = self.parameter.shape[-2:]
        return 0 if rows < columns else 1

    @property
    def is_of_smaller_side(self) -> bool:
        """Whether a matrix's channels are spread over processes."""
        return self.parameter.ndim == 2 and self.axis == self._smaller

    @property
    def is_of_larger_side(self) -> bool:
        """Whether each process has some of a matrix's channels."""
        return self.parameter.ndim == 2 and self.axis == 1 - self._smaller

    def rows_of_smaller_side(self, projection: Tensor) -> Tensor:
        """Return what of P (side, rank) belongs to what this process holds."""
        if not self.is_of_smaller_side:
            return projection
        return projection[held_slices(projection.shape, 0, self.parameter)[0]]

    def sum_if_of_smaller_side(self, low: Tensor) -> Tensor:
        """Sum R's summands over the processes; elsewhere it is there."""
        if self.is_of_smaller_side:
            dist.all_reduce(low, group=self.group)
        return low

    def norms_if_of_smaller_side(self, norms: Tensor) -> Tensor:
        """Make norms of channels' parts those of channels; elsewhere they are."""
        if not self.is_of_smaller_side:
            return norms
        squares = norms.square()
        dist.all_reduce(squares, group=self.group)
        return squares.sqrt_()

    def kept(self, local: Tensor, axis: int | None) -> Tensor:
        """Make a part of a state of what this process has; axis: along which it is cut."""
        shape = list(local.shape)
        if axis is not None:
            shape[axis] = self.parameter.shape[axis]
        return part(local, tuple(shape), axis, self.parameter)

    @property
    def group(self) -> Any:
        """The processes that hold the parts."""
        parameter: Any = self.parameter
        return parameter.device_mesh.get_group()


def squares_sum(norms: Sequence[Tensor], cut: Cut) -> list[Tensor]:
    """Return the norms of wholes, given those of this process's parts; one message."""
    squares = torch.stack(list(norms)).square_()
    dist.all_reduce(squares, group=cut.group)
    return list(squares.sqrt_().unbind())
