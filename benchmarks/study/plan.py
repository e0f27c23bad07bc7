"""What the study runs: every combination of method, rate, gradient and seed, and in which order."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

STEPS = 30
SEEDS = (1, 2, 3)
RATES = {
    "adamw": (1e-5, 5e-5),
    "apollo": (1e-5, 1e-4),
    "apollo_mini": (1e-5, 1e-4),
    "lora": (1e-4, 3e-4),
}
"""By method: two rates inside its safe range (theory, 1)."""
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
    """All runs, seed by seed, so that a study that was stopped has whole comparisons."""
    for seed, (method, rates) in product(SEEDS, RATES.items()):
        for rate, gradient in product(rates, GRADIENTS):
            yield Setting(method=method, rate=rate, gradient=gradient, seed=seed)


def steps_of(setting: Setting, steps: int, speed_ratios: dict[str, float]) -> int:
    """Steps of a run; speed_ratios: by method, a full step's time by a frozen one's.

    A full-gradient run of equal time takes as many steps as fit into the frozen run's time.
    """
    if setting.gradient != FULL_SHORT:
        return steps
    return max(1, round(steps / speed_ratios[setting.method]))
