"""The rule that a verdict follows: how much may be lost, and how surely that must be shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from engine.errors import PlacedError
from engine.numbers import is_number

GATES = ("pooled", "each")


class RuleError(PlacedError):
    """A rule that cannot be applied: `where` is the field, `cure` says what to write instead."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Margins and error rate of a verdict. The defaults suit the quick suite of 60 items."""

    alpha: float = 0.05
    """One-sided error rate: how often a loss at the margin may pass as retained."""
    gate_on: str = "pooled"
    """pooled: all items together must pass, and no benchmark may show a loss of its own; each:
    every benchmark must pass on its own."""
    pooled_margin: float = 0.10
    """The loss allowed over all items together, as a share (0.1 is ten points)."""
    default_margin: float = 0.10
    """The loss allowed on one benchmark that `margins` does not name."""
    margins: Mapping[str, float] = field(default_factory=dict)
    """The loss allowed on single benchmarks, by name."""
    perplexity_margin_ratio: float = 1.03
    """How far perplexity may rise on every held-out set; 1.03 is three percent."""
    anchor_factor: float = 2.0
    """Against the pre-trained anchor, where many sessions add up, margins times this apply."""

    def __post_init__(self) -> None:
        """Raise RuleError where a field is out of its range."""
        if self.gate_on not in GATES:
            raise RuleError("gate_on", f"{self.gate_on!r} is unknown.", f"Use one of {GATES}.")
        shares = {"alpha": self.alpha, "pooled_margin": self.pooled_margin}
        shares |= {"default_margin": self.default_margin}
        shares |= {f"margins.{name}": value for name, value in self.margins.items()}
        for where, value in shares.items():
            _number(where, value, above=0.0, below=0.5 if where == "alpha" else 1.0)
        _number("perplexity_margin_ratio", self.perplexity_margin_ratio, above=1.0, below=10.0)
        _number("anchor_factor", self.anchor_factor, above=0.0, below=100.0)

    def margin_for(self, benchmark: str) -> float:
        """The loss allowed on one benchmark, as a share of its items."""
        return self.margins.get(benchmark, self.default_margin)

    def against_anchor(self) -> Rule:
        """The rule with the cumulative budget: the one to use against the pre-trained anchor."""

        def budget(margin: float) -> float:
            return min(0.99, margin * self.anchor_factor)

        return replace(
            self,
            pooled_margin=budget(self.pooled_margin),
            default_margin=budget(self.default_margin),
            margins={name: budget(margin) for name, margin in self.margins.items()},
            perplexity_margin_ratio=min(9.9, self.perplexity_margin_ratio**self.anchor_factor),
        )

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read a stored rule; raises RuleError naming an unknown or impossible field."""
        known = {one.name for one in fields(cls)}
        for name in record:
            if name not in known:
                raise RuleError(name, "no such field.", f"Known are {', '.join(sorted(known))}.")
        if not isinstance(record.get("margins", {}), Mapping):
            raise RuleError("margins", "not a mapping.", "Give a margin for each benchmark's name.")
        return cls(**record)

    def to_json(self) -> dict[str, Any]:
        """The rule as plain JSON values; from_json gives it back."""
        record = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**record, "margins": dict(self.margins)}


def _number(where: str, value: Any, *, above: float, below: float) -> None:
    good = is_number(value) and math.isfinite(value)
    if not good or not above < value < below:
        raise RuleError(
            where,
            f"{value!r} is out of range.",
            f"Give a number above {above:g} and below {below:g}.",
        )
