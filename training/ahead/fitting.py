"""Whether each method fits into a worker's memory, and what would make it fit. No torch here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from engine.checks import ConfigError
from training.ahead.decoder import DecoderShape
from training.ahead.memory import TOLERANCE, MemoryEstimate, Workload, memory_estimate
from training.ahead.memory_advice import memory_words
from training.config import AUTO, MethodConfig, RanksConfig, RunConfig
from training.methods import METHODS

CARDS = (2, 4, 8)
"""How many cards are tried together where one is too few."""
YES, BARELY, NO = "yes", "barely", "no"


def fits(needed_bytes: int, free_bytes: int) -> str:
    """Return YES, NO, or BARELY where the estimate's own error may make the difference."""
    if needed_bytes > free_bytes:
        return NO
    return BARELY if needed_bytes * (1.0 + TOLERANCE) > free_bytes else YES


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run would be, as far as it is known."""

    on_gpu: bool
    free_bytes: int | None
    """Of one card, or of the machine where there are none; None: not known."""
    processes: int = 1
    """How many "auto" would be there."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """What a session's memory hangs on beside its recipe."""

    shapes: Mapping[str, tuple[int, ...]]
    """Of the parent's tensors, by name."""
    decoder: DecoderShape
    workload: Workload

    def estimate(self, config: RunConfig, place: Place) -> MemoryEstimate:
        """Return the peak of one card, or of one process where there are none."""
        return memory_estimate(
            config,
            shapes=self.shapes,
            decoder=self.decoder,
            workload=self.workload,
            on_gpu=place.on_gpu,
            processes=processes_of(config, place),
        )

    def needed_bytes(self, config: RunConfig, place: Place) -> int:
        """Return what must be free: on each card, or in the machine for all processes together."""
        total = self.estimate(config, place).total_bytes
        return total if place.on_gpu else total * processes_of(config, place)


@dataclass(frozen=True, kw_only=True)
class MethodFit:
    """What one method needs there."""

    name: str
    chosen: bool
    """Whether the recipe has it."""
    needed_bytes: int | None
    """None: the rest of the recipe refuses it, and `cure` says why."""
    fits: str | None
    """As `fits` says; None: what is free there is not known."""
    cure: str = ""
    """What would make it fit."""

    @property
    def too_large(self) -> bool:
        """Whether it is known not to fit."""
        return self.fits == NO


def processes_of(config: RunConfig, place: Place) -> int:
    """Return how many processes share a run there."""
    wanted = config.ranks.processes
    return place.processes if wanted == AUTO else int(wanted)


def method_fits(config: RunConfig, session: Session, place: Place) -> list[MethodFit]:
    """Try every method with the rest of a recipe as it is; the recipe's own with its settings."""
    return [
        _method_fit(config, key, bits, session, place)
        for key, kind in METHODS.items()
        for bits in (None, *kind.base_bits)
    ]


def _method_fit(
    config: RunConfig, key: str, bits: int | None, session: Session, place: Place
) -> MethodFit:
    """One method, its base in dtype or in so many bits."""
    own = config.method
    name = METHODS[key].name if bits is None else f"{METHODS[key].name}, base in {bits} bit"
    chosen = key == own.name and bits == own.base_bits
    try:
        method = replace(own, base_bits=bits) if key == own.name else _defaults(key, bits)
        tried = config if chosen else replace(config, method=method)
    except ConfigError as error:
        cure = f"{error.message[0].upper()}{error.message[1:]}."
        return MethodFit(name=name, chosen=False, needed_bytes=None, fits=None, cure=cure)
    if bits is not None and not place.on_gpu:
        cure = "It needs a worker with a CUDA GPU."
        return MethodFit(name=name, chosen=chosen, needed_bytes=None, fits=None, cure=cure)
    needed = session.needed_bytes(tried, place)
    fit = None if place.free_bytes is None else fits(needed, place.free_bytes)
    cure = fitting_words(tried, session, place) if fit == NO else ""
    return MethodFit(name=name, chosen=chosen, needed_bytes=needed, fits=fit, cure=cure)


def _defaults(key: str, bits: int | None) -> MethodConfig:
    return MethodConfig(name=key, base_bits=bits)


def fitting_words(config: RunConfig, session: Session, place: Place) -> str:
    """Say what fits: the fewest cards, and the recipe's own precision where that does."""
    least: tuple[int, str] | None = None
    for words, tried in _ways(config, place):
        needed = session.needed_bytes(tried, place)
        if needed <= (place.free_bytes or 0):
            return f"Fits {words}: {_on_each(needed, words)}."
        least = min(least or (needed, words), (needed, words))
    if least is None:
        return "Use a machine with more memory, or a smaller model."
    comma = "," if "cards" in least[1] else ""
    needs = _on_each(*least)
    return f"Even {least[1]}{comma} it needs {needs}: use more memory, or a smaller model."


def _on_each(needed_bytes: int, words: str) -> str:
    return f"{memory_words(needed_bytes)}{' on each' if 'cards' in words else ''}"


def _ways(config: RunConfig, place: Place) -> Iterator[tuple[str, RunConfig]]:
    """What may be tried, in words, and the recipe that says it."""
    rounded = [] if config.dtype == "bfloat16" else [replace(config, dtype="bfloat16")]
    for tried in rounded:
        yield "in bfloat16", tried
    if not place.on_gpu:
        return
    own = processes_of(config, place) if config.ranks.sharding != "none" else 1
    for count in (one for one in CARDS if one > own):
        for tried in (config, *rounded):
            words = f"on {count} cards, each with a part"
            if tried is not config:
                words = f"in bfloat16 {words}"
            try:
                shared = replace(tried, ranks=RanksConfig(processes=count, sharding="fsdp2"))
            except ConfigError:
                continue  # what needs whole matrices
            yield words, shared
