"""What an ingestion is told: DIR/config.json, checked once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from corpus.examples import DECISION_RULES
from corpus.formats import ColumnMapping, Reading
from corpus.reasoning import CHOICES, LEARN
from corpus.template_arguments import arguments_check
from engine.checks import ConfigError
from engine.numbers import is_number

DEFAULT_LIMITS = {
    "max_file_bytes": 1 << 30,
    "max_expanded_bytes": 8 << 30,
    "max_record_bytes": 4 << 20,
    "max_examples": 5_000_000,
    "max_problems": 1000,
}
PASSES = ("all", "reading", "counting")
"""reading alone; counting and screening of what was read; or all three."""


@dataclass(frozen=True, kw_only=True)
class IngestionConfig:
    """DIR/config.json of an ingestion."""

    source: Path
    """The uploaded file; for counting alone, the examples.jsonl that reading has written."""
    tokenizer: Path
    """The Hugging Face directory whose tokenizer and chat template count the tokens."""
    passes: str = "all"
    """One of PASSES."""
    filename: str = ""
    """What the uploaded file was called: a table is known by its suffix."""
    decision_rule: str = "last"
    """One of DECISION_RULES, for examples in which no turn is marked."""
    reasoning: str = LEARN
    """One of `corpus.reasoning.CHOICES`."""
    empty_reasoning: bool = False
    """Whether an answer without reasoning is learnt with the empty reasoning that the chat template
    writes before it."""
    preference: str = ""
    """chosen: learn the chosen answers of preference data; empty: ask."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Column -> target, for records of no known format."""
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the chat template is given where a record says nothing: {"enable_thinking": false}."""
    outcome_least: Mapping[str, float] = field(default_factory=dict)
    """Outcome -> the least that it must be; others are left out."""
    leave_out: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of an example -> why a person left it out."""
    redact: bool = False
    """Whether secrets and personal data are covered: see `corpus.screening.redaction`."""
    references: Path | None = None
    """JSON lines of {"name", "text"}: what the model is measured by, for contamination."""
    earlier: Sequence[Mapping[str, str]] = ()
    """{"key", "name", "directory"} of each earlier batch, for duplicates and held-out slices."""
    day: str | None = None
    """What chat templates take for today, as 2026-11-29; None: nothing is pinned."""
    limits: Mapping[str, int] = field(default_factory=lambda: DEFAULT_LIMITS)
    """DEFAULT_LIMITS, with what the config changes."""

    @property
    def reading(self) -> Reading:
        """What the formats are told."""
        columns = ColumnMapping.from_json(dict(self.columns)) if self.columns else None
        return Reading(
            preference=self.preference,
            columns=columns,
            template_arguments=self.template_arguments,
        )

    @classmethod
    def from_json(cls, record: Any) -> "IngestionConfig":
        """Build the config from decoded JSON; ConfigError names the field that is wrong."""
        if not isinstance(record, dict):
            raise ConfigError("config", "is not a JSON object", "Write an object of fields.")
        known = tuple(cls.__dataclass_fields__)
        for name in record:
            if name not in known:
                raise ConfigError(name, "unknown field", f"Use only: {', '.join(known)}.")
        for name in ("source", "tokenizer"):
            if not isinstance(record.get(name), str) or not Path(record[name]).exists():
                raise ConfigError(name, "does not exist", "Name a path that exists.")
        choices: dict[str, tuple[str, ...]] = {
            "passes": PASSES,
            "decision_rule": DECISION_RULES,
            "reasoning": tuple(CHOICES),
            "preference": ("", "chosen"),
        }
        for name, values in choices.items():
            if record.get(name, values[0]) not in values:
                cure = f"Use {' or '.join(value or 'nothing' for value in values)}."
                raise ConfigError(name, f"{record[name]!r} is not known", cure)
        for name in ("empty_reasoning", "redact"):
            if not isinstance(record.get(name, False), bool):
                raise ConfigError(name, f"{record[name]!r} is not known", "Use true or false.")
        _columns_check(record.get("columns") or {})
        arguments_check(record.get("template_arguments") or {})
        _outcomes_check(record.get("outcome_least") or {})
        _day_check(record.get("day"))
        return cls(
            **record
            | {
                "source": Path(record["source"]),
                "references": _references(record.get("references")),
                "tokenizer": Path(record["tokenizer"]),
                "columns": record.get("columns") or {},
                "template_arguments": record.get("template_arguments") or {},
                "outcome_least": record.get("outcome_least") or {},
                "limits": {**DEFAULT_LIMITS, **_limits(record.get("limits") or {})},
            }
        )


def _references(path: Any) -> Path | None:
    if path is None:
        return None
    if not isinstance(path, str) or not Path(path).is_file():
        raise ConfigError("references", "does not exist", "Name a file of JSON lines.")
    return Path(path)


def _limits(limits: Any) -> dict[str, int]:
    for name, value in limits.items():
        if name not in DEFAULT_LIMITS or not isinstance(value, int) or value < 1:
            cure = f"Use whole numbers for {', '.join(DEFAULT_LIMITS)}."
            raise ConfigError(f"limits.{name}", f"{value!r} is not valid", cure)
    return dict(limits)


def _columns_check(columns: Any) -> None:
    if columns:
        try:
            ColumnMapping.from_json(columns)
        except ValueError as error:
            raise ConfigError("columns", str(error), "Map a user's and an assistant's.") from None


def _outcomes_check(outcomes: Any) -> None:
    if not isinstance(outcomes, dict) or not all(map(is_number, outcomes.values())):
        raise ConfigError("outcome_least", "is not numbers by name", 'Write {"reward": 1}.')


def _day_check(day: Any) -> None:
    try:
        if day is not None:
            date.fromisoformat(day)
    except (TypeError, ValueError):
        raise ConfigError("day", f"{day!r} is not a day", "Write it as 2026-11-29.") from None
