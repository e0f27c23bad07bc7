"""Keeps the passes of ranks that share a sharded model the same.

FSDP2 (torch.distributed.fsdp.fully_shard) gathers a layer's weights for every forward and backward
and adds up its gradients in every backward, so all ranks must go through the same passes in the
same order, or they wait for each other forever. Ranks have different numbers of decisions: before
each pass they agree on what comes next, and a rank that has nothing of that kind to do runs a
pass over one token whose loss counts zero times.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from training.frozen.streaming import head_whole
from training.ranks.group import Ranks

_DONE, _DECISION, _CONTEXT = range(3)
"""Passes of a step, the one to do first last."""


class Lockstep:
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
