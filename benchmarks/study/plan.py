"""What the study runs: every combination of method, rate, gradient and seed, and in which order."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from training.methods import METHODS

STEPS = 30
SEEDS = (1, 2, 3)
RATES = {key: METHODS[key].safe_rates for key in ("adamw", "apollo", "apollo_mini", "lora")}
"""By method: the ends of its safe range."""
FROZEN, FULL, FULL_SHORT = "frozen", "full", "full, equal time"
GRADIENTS = (FROZEN, FULL, FULL_SHORT)
"""Frozen context; full gradient over as many examples; full gradient for as long a time."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One run of the study."""

    method: str
    rate: float
    gradient: str
    """One of GRADIENTS."""
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Return its fields."""
        return asdict(self)

    @classmethod
    def of(cls, record: dict[str, Any]) -> "Setting":
        """Read the fields of a result."""
        return cls(**{name: record[name] for name in ("method", "rate", "gradient", "seed")})

    @property
    def cell(self) -> tuple[str, float, str]:
        """What runs that differ in their seed alone share."""
        return self.method, self.rate, self.gradient


def settings() -> Iterator[Setting]:
    """All runs, seed by seed, so that a study that was stopped has whole comparisons.

    Those of equal time come last: they need to know how long a step takes.
    """
    for gradients in ((FROZEN, FULL), (FULL_SHORT,)):
        for seed, (method, rates) in product(SEEDS, RATES.items()):
            for rate, gradient in product(rates, gradients):
                yield Setting(method=method, rate=rate, gradient=gradient, seed=seed)


def steps_in_time(steps: int, ratio: float) -> int:
    """Full-gradient steps in the time of so many frozen ones; ratio: of their times a step."""
    return max(1, round(steps / ratio))
