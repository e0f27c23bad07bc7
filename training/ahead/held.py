"""What one process holds from the first step to the last, and what it gathers for a while.

Alone, or as one of several with whole copies, it holds all of it. Where processes share the model
(FSDP2, `training.ranks.sharding`), each holds its part of every matrix, of its gradient and of what
the optimizer keeps, and in a pass gathers whole what it computes with: the layer at hand, the next
one, which is fetched meanwhile, and what belongs to no layer, which stays until the step is done.
In the backward a layer's gradient is there whole until it is summed over the processes, in
float32. No torch here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from engine.tensornames import TensorName
from training.config import BUCKET_NUMBERS, RunConfig
from training.methods.method import FLOAT32_BYTES

_LAYER_COPIES = 3
"""The layer at hand, the next one, and the message that brings that one."""
_SUMS_IN_FLIGHT = 2
"""A layer's gradient in float32 while it is summed, and the one before it."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """What one of `processes` holds; sizes in bytes."""

    config: RunConfig
    shapes: Mapping[str, tuple[int, ...]]
    """Of the parent's tensors, by name."""
    processes: int

    @property
    def number_bytes(self) -> int:
        """Of a weight, and of its gradient."""
        return 2 if self.config.dtype == "bfloat16" else FLOAT32_BYTES

    @property
    def shared(self) -> bool:
        """Whether each process holds a part only."""
        return self.config.ranks.sharding != "none" and self.processes > 1

    def part(self, size_bytes: int) -> int:
        """A process's part of what is shared out; all of it where nothing is."""
        return -(-size_bytes // self.processes) if self.shared else size_bytes

    @cached_property
    def numbers(self) -> int:
        """Of all weights."""
        return sum(map(math.prod, self.shapes.values()))

    @cached_property
    def largest(self) -> int:
        """Numbers of the largest tensor."""
        return max(map(math.prod, self.shapes.values()))

    @property
    def model(self) -> int:
        """The weights, and the adapter where there is one."""
        kind, method = self.config.method.kind, self.config.method
        adapter = self._all_trained if kind.is_adapter else 0
        return self.part(kind.base_bytes(method, self.shapes, self.number_bytes) + adapter)

    @property
    def restored(self) -> int:
        """What of a base in few bits is restored at a time, in a pass."""
        return self.config.method.kind.restored_bytes(
            self.config.method, self.shapes, self.number_bytes
        )

    @cached_property
    def _all_trained(self) -> int:
        kind = self.config.method.kind
        return kind.trained_bytes(self.config.method, self.shapes, self.number_bytes)

    @property
    def trained(self) -> int:
        """One number of the right size for everything that learns, as its gradients are."""
        return self.part(self._all_trained)

    @property
    def optimizer(self) -> int:
        """What the optimizer keeps: a part of most, and whole what is not cut."""
        kind, method = self.config.method.kind, self.config.method
        every = kind.optimizer_bytes(method, self.shapes, self.number_bytes)
        if not self.shared:
            return every
        whole = kind.uncut_bytes(method, self.shapes, self.number_bytes, self.processes)
        return whole + self.part(every - whole)

    @property
    def step(self) -> int:
        """What the optimizer's step takes for a while, or the message that sums gradients."""
        own = self.part(self.config.method.kind.step_bytes(self.shapes, self.number_bytes))
        if self.processes == 1 or self.shared:
            return own
        message = FLOAT32_BYTES * max(BUCKET_NUMBERS, self.largest)
        message = min(message, FLOAT32_BYTES * self._all_trained // self.number_bytes)
        copies = 1 if self.number_bytes == FLOAT32_BYTES else 2
        return max(own, copies * message)

    def gathered(self, *, backward: bool) -> int:
        """What is whole in the middle of a pass, with gradient or without; 0 where all is."""
        if not self.shared:
            return 0
        layer, root = self._layer_and_root
        size = (root + _LAYER_COPIES * layer) * self.number_bytes
        if backward:
            summed = self._learning(layer) * (self.number_bytes + _SUMS_IN_FLIGHT * FLOAT32_BYTES)
            size += summed + self._learning(root) * self.number_bytes
        return size

    def closing(self) -> int:
        """What is whole at a backward's end, when all that belongs to no layer is summed."""
        if not self.shared:
            return 0
        layer, root = self._layer_and_root
        summed = (self._learning(root) + self._learning(layer)) * FLOAT32_BYTES
        return root * self.number_bytes + self._learning(root) * self.number_bytes + summed

    def _learning(self, numbers: int) -> int:
        """Of so many numbers, those that get gradient; an adapter's own are too few to count."""
        return 0 if self.config.method.kind.is_adapter else numbers

    @cached_property
    def _layer_and_root(self) -> tuple[int, int]:
        """Numbers of the largest layer, and of all that is in none."""
        layers: dict[int, int] = {}
        root = 0
        for name, shape in self.shapes.items():
            place = TensorName.parse(name).layer
            if place is None:
                root += math.prod(shape)
            else:
                layers[place] = layers.get(place, 0) + math.prod(shape)
        return max(layers.values(), default=0), root
