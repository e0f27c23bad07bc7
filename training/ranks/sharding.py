"""What each rank holds of the model: a whole copy, or its part under FSDP2.

A part is all that a rank ever has: the model is built without numbers, each rank reads its own rows
or columns from the files, and what is written or measured whole is gathered tensor by tensor. So
states and outputs are the same files as those of one process, and any number of processes can go
on from them.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Shard

from engine.checks import ConfigError
from engine.products import WeightGradients
from training.frozen.reader import base_model
from training.ranks.group import Ranks
from training.ranks.lockstep import Lockstep
from training.tensors.reading import parts_make


class Copies:
    """Every rank holds the whole model, and all copies stay equal."""

    sharded = False

    def __init__(self, model: nn.Module, ranks: Ranks) -> None:
        self.model = model
        self.ranks = ranks

    @contextmanager
    def walking(self) -> Iterator[None]:
        """Let the ranks go through passes of their own."""
        yield

    @contextmanager
    def step(self) -> Iterator[None]:
        """Walk through a rank's conversations, and sum the gradients at the end."""
        with WeightGradients.gathered(self.model):
            yield
        self.ranks.gradients_sum(self.model.parameters())

    @property
    def takes_part(self) -> bool:
        """Whether this rank is needed where weights are read: one copy is enough."""
        return self.ranks.first

    def at_rest(self) -> Any:
        """Return the model for its weights to be read, None in ranks that take no part; all ranks
        must call, and then those that take part must read the same."""
        return self.model if self.takes_part else None

    def agree(self, value: Any) -> Any:
        """Return the first rank's value among those that take part."""
        return value

    def same_check(self) -> None:
        """Refuse to save copies that have gone apart; EngineError. All ranks must call."""
        if not self.ranks.alone:
            trained = [p.detach() for p in self.model.parameters() if p.requires_grad]
            digest = hashlib.blake2b(repr([torch.hash_tensor(p).item() for p in trained]).encode())
            self.ranks.same_check("the weights' hash", digest.hexdigest())


class Shards:
    """Each rank holds its part of every matrix, as DTensors of FSDP2."""

    sharded = True

    takes_part = True

    def __init__(
        self, model: nn.Module, ranks: Ranks, device: str, *, by_larger_side: bool = False
    ) -> None:
        """Shard a model in place, and make room for this rank's parts.

        model: the same in every rank, what is to be read from files on the meta device.
        by_larger_side: whether to cut matrices along their larger side; else by rows.
        """
        self.model = model
        self.ranks = ranks
        self._cut = self._larger_side if by_larger_side else None
        base = base_model(model)
        self._shard(base, device)
        parts_make(base, device)
        # Context is read without the head, but only the root's hooks gather what the root holds.
        base.get_decoder = lambda: partial(base, logits_to_keep=1)
        self._lockstep = Lockstep(base, ranks)

    def _larger_side(self, parameter: nn.Parameter) -> Shard | None:
        """Cut columns where a matrix has more of them; None, which is by rows, where there are
        fewer, or where they cannot be shared evenly, for which FSDP2 has no way."""
        if parameter.ndim != 2 or parameter.shape[0] >= parameter.shape[1]:
            return None
        return None if parameter.shape[1] % self.ranks.count else Shard(1)

    def _shard(self, base: Any, device: str) -> None:
        layers = _decoder_layers(base)
        if not layers:
            message = f"the layers of a model of type {base.config.model_type} cannot be told"
            raise ConfigError("ranks.sharding", message, "Set it to none for this model.")
        settings: dict[str, Any] = {
            "mesh": init_device_mesh(device, (self.ranks.count,)),
            "mp_policy": MixedPrecisionPolicy(reduce_dtype=torch.float32),
            "shard_placement_fn": self._cut,
        }
        for module in (*layers, base):
            fully_shard(module, **settings)
            module.set_gradient_divide_factor(1.0)  # sums, for the loss is divided already
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no other
        base.set_reduce_scatter_unused_params(True)  # else ranks with other experts would hang

    @contextmanager
    def walking(self) -> Iterator[None]:
        """Let the ranks go through passes of their own, each met by the others.

        Afterwards parameters are parts again: an optimizer made of gathered ones would move copies.
        """
        with self._lockstep.walking():
            yield
        self.at_rest()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Walk through a rank's conversations.

        Gradients are summed in every backward: a whole gradient in memory is what sharding avoids.
        """
        with self.walking():
            yield

    def at_rest(self) -> Any:
        """Return the model with its parameters as parts, which is how weights are read."""
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()  # what a forward without a backward left gathered
        return self.model

    def agree(self, value: Any) -> Any:
        """Return the first rank's value, for what each would decide by its own clock."""
        return self.ranks.agree(value)

    def same_check(self) -> None:
        """Do nothing: no number is held twice."""


Holding = Copies | Shards


def _decoder_layers(base: Any) -> Sequence[nn.Module]:
    """The decoder's layers: the list of as many modules as the config says. Empty: not found."""
    count = base.config.get_text_config().num_hidden_layers
    lists = (m for m in base.modules() if isinstance(m, nn.ModuleList) and len(m) == count)
    return list(next(lists, ()))
