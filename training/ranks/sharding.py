"""What each rank holds of the model: a whole copy, or its part under FSDP2.

FSDP2 (torch.distributed.fsdp.fully_shard) gathers a layer's weights for every forward and backward
and adds up its gradients in every backward, so all ranks must go through the same passes in the
same order, or they wait for each other forever. Ranks have different numbers of decisions: before
each pass they agree on what comes next, and a rank that has nothing of that kind to do runs a
pass over one token whose loss counts zero times (`_Lockstep`).

States and outputs are written from whole tensors, so they are the same files as those of one
process, and any number of processes can go on from them.
"""

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from engine.checks import ConfigError
from engine.products import WeightGradients
from training.frozen.reader import base_model
from training.frozen.streaming import head_whole
from training.ranks.group import Ranks

_DONE, _DECISION, _CONTEXT = range(3)
"""Passes of a step, the one to do first last."""


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
    def kept(self) -> Any:
        """The model that `whole` returns, perhaps not up to date."""
        return self.model if self.ranks.first else None

    def whole(self) -> Any:
        """Return the whole model in the first rank, None in the others; all ranks must call."""
        return self.kept

    def due(self, due: bool) -> bool:
        """Whether this rank takes part in a measurement that is due by the first rank's clock."""
        return due and self.ranks.first

    @torch.no_grad()
    def weights_take(self, stored: Mapping[str, torch.Tensor]) -> None:
        """Take over trained weights, whole tensors by their names."""
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(stored[name])

    def optimizer_attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Make the optimizer's states whole ones; here they are."""

    def same_check(self) -> None:
        """Refuse to save copies that have gone apart; EngineError. All ranks must call."""
        if not self.ranks.alone:
            trained = [p.detach() for p in self.model.parameters() if p.requires_grad]
            digest = hashlib.blake2b(repr([torch.hash_tensor(p).item() for p in trained]).encode())
            self.ranks.same_check("the weights' hash", digest.hexdigest())


class Shards:
    """Each rank holds its part of every matrix, as DTensors of FSDP2."""

    sharded = True

    def __init__(self, model: nn.Module, ranks: Ranks, device: str) -> None:
        """model: whole, on the CPU, the same in every rank; it is sharded in place."""
        self.model = model
        self.ranks = ranks
        self._mirror: Any = copy.deepcopy(model) if ranks.first else None
        base = base_model(model)
        self._shard(base, device)
        # Context is read without the head, but only the root's hooks gather what the root holds.
        base.get_decoder = lambda: partial(base, logits_to_keep=1)
        self._lockstep = _Lockstep(base, ranks)

    def _shard(self, base: Any, device: str) -> None:
        layers = _decoder_layers(base)
        if not layers:
            message = f"the layers of a model of type {base.config.model_type} cannot be told"
            raise ConfigError("ranks.sharding", message, "Set it to none for this model.")
        settings: dict[str, Any] = {
            "mesh": init_device_mesh(device, (self.ranks.count,)),
            "mp_policy": MixedPrecisionPolicy(reduce_dtype=torch.float32),
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
        self._reshard()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Walk through a rank's conversations.

        Gradients are summed in every backward: a whole gradient in memory is what sharding avoids.
        """
        with self.walking():
            yield

    @property
    def kept(self) -> Any:
        """The model that `whole` returns, perhaps not up to date."""
        return self._mirror

    def whole(self) -> Any:
        """Return the whole model on the CPU in the first rank, None in the others; all must call.

        It is one and the same model, brought up to date by every call.
        """
        self._reshard()
        targets = {} if self._mirror is None else dict(self._mirror.named_parameters())
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    full = whole_tensor(parameter)
                    if targets:
                        targets[name].copy_(full)
        return self._mirror

    def due(self, due: bool) -> bool:
        """Whether a measurement is due by the first rank's clock, for which all must gather."""
        return bool(self.ranks.agree(due))

    @torch.no_grad()
    def weights_take(self, stored: Mapping[str, torch.Tensor]) -> None:
        """Take over trained weights, whole tensors by their names: each rank cuts out its part."""
        self._reshard()
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(_part(stored[name], parameter))

    def optimizer_attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Make `state_dict` gather whole tensors, in all ranks, and `load_state_dict` cut them."""
        self._reshard()

        def gather(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
            whole = {
                number: {key: self._gathered(value) for key, value in one.items()}
                for number, one in state["state"].items()
            }
            return {**state, "state": whole}

        optimizer.register_state_dict_post_hook(gather)
        optimizer.register_load_state_dict_pre_hook(_state_cut)

    def same_check(self) -> None:
        """Do nothing: no number is held twice."""

    def _gathered(self, value: Any) -> Any:
        if not isinstance(value, DTensor):
            return value
        full: torch.Tensor = whole_tensor(value)
        return full.cpu() if self.ranks.first else None

    def _reshard(self) -> None:
        """Give back what a forward without a backward left gathered."""
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


Holding = Copies | Shards


class _Lockstep:
    """Keeps the ranks' passes through a sharded model the same."""

    def __init__(self, base: Any, ranks: Ranks) -> None:
        self.base = base
        self.ranks = ranks
        self._active = False
        base.register_forward_pre_hook(self._before_forward, prepend=True)

    @contextmanager
    def walking(self) -> Iterator[None]:
        """Within, passes meet those of the other ranks; at the end, wait for their last one."""
        self._active = True
        try:
            yield
            self._meet(_DONE)
        finally:
            self._active = False

    def _before_forward(self, *_: Any) -> None:
        if self._active:
            self._meet(_DECISION if torch.is_grad_enabled() else _CONTEXT)

    def _meet(self, wanted: int) -> None:
        """Run empty passes until what this rank wants is what all do."""
        while (now := self.ranks.largest(wanted)) != wanted:
            self._active = False
            self._empty_pass(now)
            self._active = True

    def _empty_pass(self, kind: int) -> None:
        ids = torch.zeros((1, 1), dtype=torch.long, device=next(self.base.parameters()).device)
        with torch.set_grad_enabled(kind == _DECISION), head_whole():
            logits = self.base(input_ids=ids, use_cache=False).logits
        if kind == _DECISION:
            (logits.float().sum() * 0.0).backward()


def _decoder_layers(base: Any) -> Sequence[nn.Module]:
    """The decoder's layers: the list of as many modules as the config says. Empty: not found."""
    count = base.config.get_text_config().num_hidden_layers
    lists = (m for m in base.modules() if isinstance(m, nn.ModuleList) and len(m) == count)
    return list(next(lists, ()))


def whole_tensor(value: Any) -> Any:
    """Return a DTensor's whole tensor, all ranks together; anything else as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def _part(whole: torch.Tensor, like: Any) -> Any:
    """Cut this rank's part out of a whole tensor, as `like` is cut; no message is sent."""
    placed = whole.to(like.device, like.dtype)
    return distribute_tensor(placed, like.device_mesh, like.placements, src_data_rank=None)


def _state_cut(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Cut whole tensors of an optimizer's state as its parameters are cut."""
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    cut: dict[Any, Any] = {}
    for number, parameter in zip(numbers, parameters, strict=True):
        cut[number] = {
            key: _part(value, parameter) if getattr(value, "ndim", 0) else value
            for key, value in state["state"].get(number, {}).items()
        }
    return {**state, "state": {number: one for number, one in cut.items() if one}}
