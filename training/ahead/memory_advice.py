"""What is free of this machine's memory, and which settings to lower where it is too little.

No torch here: the portal says with this module what the engine would say.
"""

from pathlib import Path

from training.ahead.memory import (
    ACTIVATIONS,
    CACHE,
    LOGITS,
    PENALTIES,
    WATCH,
    WEIGHTS,
    MemoryEstimate,
)
from training.config import RunConfig


def memory_words(size_bytes: float) -> str:
    """A size as pages and events write it: 1.3 GB, 640 MB (of 1024 each, as
    Django's filesizeformat has it)."""
    return f"{size_bytes / 2**30:.1f} GB" if size_bytes >= 2**30 else f"{size_bytes / 2**20:.0f} MB"


def memory_cure(config: RunConfig, estimate: MemoryEstimate | None) -> str:
    """Say which settings of this recipe to lower, those that free most first; three at most."""
    levers = [(own, 0) for own, _ in _levers(config)]
    if estimate is not None:
        levers = [
            (words, sum(estimate.part_bytes(name) for name in names))
            for words, names in _levers(config)
        ]
        levers = sorted((one for one in levers if one[1]), key=lambda one: -one[1])
    cures = [f"{words} ({memory_words(size)})" if size else words for words, size in levers[:3]]
    if not cures:
        return "Use a machine with more memory, or a smaller model."
    text = "; ".join(cures)
    return f"{text[0].upper()}{text[1:]}."


def _levers(config: RunConfig) -> list[tuple[str, tuple[str, ...]]]:
    """What can be lowered in this recipe, and the parts of the peak that it concerns."""
    levers: list[tuple[str, tuple[str, ...]]] = []
    walked = (ACTIVATIONS, CACHE, LOGITS)
    if config.context.together(config.examples_per_step) > 1:
        levers.append(("set conversations_at_once to 1", walked))
    if not config.context_frozen:
        levers.append(("set context_frozen to true", (ACTIVATIONS,)))
    if config.context.grad_window > 1:
        levers.append(("lower grad_window", (ACTIVATIONS,)))
    levers.append(("lower max_example_tokens", walked))
    levers.append(config.method.kind.lever)
    bits_now = config.method.base_bits or 16
    fewer = [bits for bits in config.method.kind.base_bits if bits < bits_now]
    if fewer and config.ranks.sharding == "none" and config.device != "cpu":
        words = " or ".join(map(str, fewer))
        levers.append((f"set base_bits to {words}, on a CUDA GPU", (WEIGHTS,)))
    if config.dtype == "float32":
        levers.append(("set dtype to bfloat16", (WEIGHTS,)))
    if config.watch.watch_every_steps:
        levers.append(("lower watch_kl_tokens, or leave out brake_rise", (WATCH,)))
    if config.defences.ewc_variant == "diagonal":
        levers.append(("set ewc_variant to row", (PENALTIES,)))
    elif config.defences.has_penalty:
        levers.append(("leave out l2_strength and ewc_strength", (PENALTIES,)))
    return levers


def memory_free_bytes(
    meminfo: Path = Path("/proc/meminfo"), control: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return what this machine's processes can still get, its container's limit counted.

    None where the system does not tell.
    """
    limits = []
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        limits.append(int(lines["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError, IndexError):
        pass
    try:
        limit = (control / "memory.max").read_text().strip()
        used = int((control / "memory.current").read_text())
        statistics = (control / "memory.stat").read_text().splitlines()
        cached = int(dict(line.split() for line in statistics).get("inactive_file", 0))
        if limit != "max":  # files that were read can be forgotten again
            limits.append(max(0, int(limit) - used + cached))
    except (OSError, ValueError):
        pass
    return min(limits, default=None)
