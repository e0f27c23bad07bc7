"""Adaptive mode: stop measuring as soon as it is certain what a benchmark lost. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.checks import ConfigError, fields_of, number_check, text_check, whole_check


@dataclass(frozen=True, kw_only=True)
class AdaptiveGroup:
    """Benchmarks whose items are taken together in one random order."""

    benchmarks: tuple[str, ...]
    """Names of benchmarks of the config; one, or all that are judged together."""
    margin: float
    """The loss allowed, as a share of the items."""

    def __post_init__(self) -> None:
        """Raise ConfigError where a field is impossible."""
        if not isinstance(self.benchmarks, list | tuple) or not self.benchmarks:
            raise ConfigError("adaptive.groups.benchmarks", "none", "Name at least one.")
        for name in self.benchmarks:
            text_check("adaptive.groups.benchmarks", name)
        number_check("adaptive.groups.margin", self.margin, above=True, maximum=0.99)

    @property
    def name(self) -> str:
        """What pages and events call it."""
        return self.benchmarks[0] if len(self.benchmarks) == 1 else "all benchmarks together"


@dataclass(frozen=True, kw_only=True)
class AdaptiveConfig:
    """What the answers are held against, and when that is certain."""

    before: str
    """The samples.jsonl of the measurement that the model is judged against: all its items."""
    before_sha256: str
    """SHA-256 of that file: the answers that the random order and the stop depend on."""
    groups: tuple[AdaptiveGroup, ...]
    """Benchmarks in no group are measured whole."""
    alpha: float = 0.05
    """How often each wrong answer may be given."""
    together: int = 1
    """Comparisons judged together: evidence of harm has to be so many times as strong."""
    seed: str = ""
    """Draws the order of the items."""

    def __post_init__(self) -> None:
        """Raise ConfigError where a field is impossible."""
        text_check("adaptive.before", self.before)
        text_check("adaptive.before_sha256", self.before_sha256)
        if not self.groups:
            raise ConfigError("adaptive.groups", "none", "Name a group, or leave adaptive out.")
        names = [name for group in self.groups for name in group.benchmarks]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError("adaptive.groups", f"{name!r} stands in two", "Name it once.")
        number_check("adaptive.alpha", self.alpha, above=True, maximum=0.49)
        whole_check("adaptive.together", self.together, 1)
        if not isinstance(self.seed, str):
            raise ConfigError("adaptive.seed", "is not text", "Write any text.")


def adaptive_of(record: Any) -> AdaptiveConfig | None:
    """Read the part of a config.json called adaptive; None where it is null."""
    if record is None or isinstance(record, AdaptiveConfig):
        return record
    if not isinstance(record, Mapping):
        raise ConfigError("adaptive", "is not a JSON object", "Write an object of fields, or null.")
    rest = dict(record)
    groups = rest.get("groups")
    if not isinstance(groups, list | tuple):
        raise ConfigError("adaptive.groups", "is not a list", "Write a list of objects.")
    rest["groups"] = tuple(_group(one) for one in groups)
    config: AdaptiveConfig = AdaptiveConfig(**fields_of(AdaptiveConfig, rest, "adaptive"))
    return config


def _group(record: Any) -> AdaptiveGroup:
    fields = fields_of(AdaptiveGroup, record, "adaptive.groups")
    if isinstance(fields.get("benchmarks"), list):
        fields = {**fields, "benchmarks": tuple(fields["benchmarks"])}
    group: AdaptiveGroup = AdaptiveGroup(**fields)
    return group
