"""How many sequences a forward pass takes: as asked for, or the largest number that fits the GPU.

The number changes the last bits of a likelihood, in bfloat16 more than those, so it is found once,
before anything is measured, written into the result, and taken over by what is compared with it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from engine.attempt import EngineError, is_out_of_memory
from engine.process import OUT_OF_MEMORY
from evaluation.config import BATCH_SIZE_CPU, BATCH_SIZE_MOST, EngineConfig

RESERVE_SHARE = 0.1
"""Of the GPU's memory, kept free while a size is tried: later batches are not quite alike."""


@dataclass(frozen=True, kw_only=True)
class BatchSize:
    """How many sequences a pass takes, and why."""

    size: int
    words: str


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The sequences of everything that is asked in batches, by their lengths in tokens."""

    scored: Sequence[tuple[int, int]] = ()
    """(tokens read, those of the answer among them) of every likelihood, the longest first."""
    generated_tokens: int = 0
    """The longest prompt with its answer; 0 where nothing is generated."""

    @property
    def longest_tokens(self) -> int:
        """The longest sequence."""
        return max(self.generated_tokens, *(tokens for tokens, _ in self.scored[:1]), 0)

    def kept(self, size: int) -> int:
        """The most places of a batch of so many sequences whose logits are asked for."""
        batches = (self.scored[i : i + size] for i in range(0, len(self.scored), size))
        return max(
            (one[0][0] - min(tokens - answer for tokens, answer in one) for one in batches),
            default=0,
        )


def batch_size(
    config: EngineConfig,
    device: torch.device,
    workload: Workload | None,
    tried: Callable[[int], None],
) -> BatchSize:
    """The number of sequences a pass. `tried(size)` runs a pass of so many on the device.

    `workload`: None where nothing is asked in batches; its lengths are not looked at where no size
    can be tried.
    Raises EngineError (OUT_OF_MEMORY) where not even one sequence fits, or fewer than what the
    measurement that this is compared with took.
    """
    asked = config.batch_size
    if isinstance(asked, int):
        if config.pinned_by is None:
            return BatchSize(size=asked, words="as asked for")
        if is_tried(device) and workload is not None:
            _pinned_try(asked, config.pinned_by, device, workload, tried)
        return BatchSize(size=asked, words=f"as {config.pinned_by} was measured")
    if workload is None:
        return BatchSize(size=1, words="nothing is asked in batches")
    if not is_tried(device):
        return BatchSize(size=BATCH_SIZE_CPU, words=f"{BATCH_SIZE_CPU} on a processor")
    size, tokens = BATCH_SIZE_MOST, workload.longest_tokens
    while not _fits(size, device, tried):
        size //= 2
        if not size:
            message = f"one sequence of {tokens:,} tokens does not fit into the GPU's memory"
            cure = "Use a suite with shorter questions, or a larger GPU."
            raise EngineError(OUT_OF_MEMORY, "batch_size", message, cure)
    words = f"the largest of at most {BATCH_SIZE_MOST} that fits {tokens:,} tokens"
    return BatchSize(size=size, words=words)


def is_tried(device: torch.device) -> bool:
    """Whether a size can be tried: a processor's memory runs out by killing the process."""
    return device.type == "cuda"


def _pinned_try(
    size: int,
    pinned_by: str,
    device: torch.device,
    workload: Workload,
    tried: Callable[[int], None],
) -> None:
    if _fits(size, device, tried, reserve=False):
        return
    message = (
        f"{size} sequences of {workload.longest_tokens:,} tokens do not fit into the GPU's memory, "
        f"and {pinned_by}, with which this is compared, was measured with so many a pass"
    )
    cure = (
        "Measure where that was measured, or make a version of the suite with fewer sequences a "
        "pass and measure both by it."
    )
    raise EngineError(OUT_OF_MEMORY, "batch_size", message, cure)


def _fits(
    size: int, device: torch.device, tried: Callable[[int], None], *, reserve: bool = True
) -> bool:
    try:
        kept_free = _reserve(device) if reserve else None
        tried(size)
        del kept_free
        return True
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Only now nothing holds the frames of the failed pass and what lies in them.
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return False


def _reserve(device: torch.device) -> torch.Tensor | None:
    if device.type != "cuda":
        return None
    total_bytes = torch.cuda.get_device_properties(device).total_memory
    return torch.empty(int(RESERVE_SHARE * total_bytes), dtype=torch.uint8, device=device)
