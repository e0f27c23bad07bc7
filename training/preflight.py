"""Whether a session will fit into memory: said before its first step, and where it did not fit."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from engine.attempt import Attempt, EngineError
from engine.process import OUT_OF_MEMORY
from engine.tensorfiles import tensor_shapes
from training.ahead.decoder import DecoderShape
from training.ahead.memory import MemoryEstimate, Workload, memory_estimate
from training.ahead.memory_advice import memory_cure, memory_free_bytes, memory_words
from training.config import RunConfig
from training.frozen.stretches import stretches, stretches_group
from training.samples import Sample


class Preflight:
    """The estimate of one session's memory; None until its examples are known."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self.estimate: MemoryEstimate | None = None
        self.free_bytes: int | None = None
        """What the session could have at most, when it was checked."""
        self._processes = 1

    def check(
        self, samples: Sequence[Sample], device: torch.device, attempt: Attempt, *, processes: int
    ) -> None:
        """Estimate the peak of learning these samples, and warn where it is more than is free.

        processes: how many share the run; without GPUs they share this machine's memory too.
        """
        self._processes = processes
        on_gpu = device.type == "cuda"
        directory = Path(self._config.model)
        try:
            decoder = DecoderShape.from_config(json.loads((directory / "config.json").read_bytes()))
        except ValueError as error:
            message = f"memory was not estimated: {error}"
            attempt.events.warning(where="memory", message=message)
            return
        self.estimate = memory_estimate(
            self._config,
            shapes=tensor_shapes(directory),
            decoder=decoder,
            workload=workload_of(samples, self._config),
            on_gpu=on_gpu,
            processes=processes,
        )
        free = self.free_bytes = _gpu_free_bytes(device) if on_gpu else _free_bytes()
        needed_bytes = self.estimate.total_bytes * (1 if on_gpu else processes)
        if free is not None and needed_bytes > free:
            needed = memory_words(needed_bytes)
            message = (
                f"the session needs about {needed} of memory and {memory_words(free)} are free: "
                f"it may run out. {memory_cure(self._config, self.estimate)}"
            )
            attempt.events.warning(where="memory", message=message)

    def notes(self) -> dict[str, int]:
        """What the run's summary keeps of it."""
        if self.estimate is None:
            return {}
        free = {} if self.free_bytes is None else {"memory_free_bytes": self.free_bytes}
        counts = {"processes": self._processes}
        return {"memory_estimate_bytes": self.estimate.total_bytes, **counts, **free}

    def failure(self) -> EngineError:
        """The words for a session that ran out of memory."""
        message = "memory ran out"
        if self.estimate is not None:
            largest = ", ".join(
                f"{part.name} {memory_words(part.size_bytes)}" for part in self.estimate.parts[:3]
            )
            needed = memory_words(self.estimate.total_bytes)
            message = f"memory ran out; the session needs about {needed}, most of it for {largest}"
        cure = memory_cure(self._config, self.estimate)
        return EngineError(OUT_OF_MEMORY, "memory", message, cure)


def workload_of(samples: Sequence[Sample], config: RunConfig) -> Workload:
    """Return the largest that these samples ask for."""
    parts = [stretches(sample.encoded) for sample in samples]
    if config.context_frozen:
        groups = [group for row in parts for group in stretches_group(row)]
        decisions = [sum(part.end - part.start for part in group) for group in groups]
    else:
        decisions = [sum(len(part.targets) for part in row) for row in parts]
    return Workload(
        longest_tokens=max(len(sample.encoded.token_ids) for sample in samples),
        longest_decision_tokens=max(decisions, default=0),
    )


def _free_bytes() -> int | None:
    """What this process has already and can still get."""
    free = memory_free_bytes()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return None if free is None else free + pages * 4096


def _gpu_free_bytes(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
