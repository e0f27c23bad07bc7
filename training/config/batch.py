"""One batch of a run's mixture."""

from dataclasses import dataclass

from engine.checks import ConfigError, choice_check, number_check, text_check

KINDS = ("agent_log", "conversation", "dream", "personality", "general")


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """One batch in the mixture."""

    key: str
    """Names the batch in metrics; unique in the run, without a slash."""
    name: str
    """What people call it."""
    kind: str
    """One of KINDS."""
    path: str
    """Its examples.jsonl, as `corpus.ingestion` wrote it."""
    weight: float = 1.0
    """Its share of the examples, before normalising over all batches; above 0."""

    def __post_init__(self) -> None:
        for name in ("key", "name", "path"):
            text_check(f"batches.{name}", getattr(self, name))
        if "/" in self.key:
            raise ConfigError("batches.key", f"{self.key!r} has a slash", "Use a key without one.")
        choice_check("batches.kind", self.kind, KINDS)
        number_check("batches.weight", self.weight, above=True)
