"""What is measured: benchmarks, held-out texts, sessions learned before, prompts. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.checks import ConfigError, choice_check, text_check, whole_check

SOURCES = ("local", "lm_eval", "own")
ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """One benchmark to measure."""

    name: str
    """A local benchmark's name, any name for one's own, or that of any lm-eval task or group."""
    source: str
    """One of SOURCES: local ships with the portal, lm_eval is the harness's own catalogue, own is a
    file of items."""
    limit: int | None = None
    """How many items, the same for every model; None measures all."""
    path: str | None = None
    """A file that `evaluation.suites.items` wrote; for source own only."""
    content_hash: str | None = None
    """SHA-256 of that file: what it held when the benchmark was chosen. For source own only."""

    def __post_init__(self) -> None:
        """Raise ConfigError where a field is impossible."""
        text_check("benchmarks.name", self.name)
        choice_check("benchmarks.source", self.source, SOURCES)
        whole_check("benchmarks.limit", self.limit, 1, optional=True)
        for name in ("path", "content_hash"):
            value = getattr(self, name)
            if self.source == "own":
                text_check(f"benchmarks.{name}", value)
            elif value is not None:
                cure = "Leave it out, or set source to own."
                raise ConfigError(f"benchmarks.{name}", f"has no meaning for {self.source}", cure)


@dataclass(frozen=True, kw_only=True)
class HeldOutConfig:
    """One held-out set whose perplexity is measured."""

    key: str
    """Names the set in the output; unique in the config."""
    name: str
    """What people call it."""
    domain: str
    """prose, code, conversation, ..."""
    path: str
    """A JSONL file of {"text", "sha256"}."""
    max_documents: int | None = None
    """The first so many documents; None takes all."""
    max_tokens: int = 512
    """Every document is cut after so many tokens."""

    def __post_init__(self) -> None:
        """Raise ConfigError where a field is impossible."""
        for name in ("key", "name", "domain", "path"):
            text_check(f"held_out.{name}", getattr(self, name))
        whole_check("held_out.max_documents", self.max_documents, 1, optional=True)
        whole_check("held_out.max_tokens", self.max_tokens, 2)


@dataclass(frozen=True, kw_only=True)
class SessionConfig:
    """One batch that was learned: how well is it still known, on the examples it set aside."""

    key: str
    """Names the batch in the output; unique in the config."""
    name: str
    """What people call it."""
    path: str
    """Its examples.jsonl, as `corpus.ingestion` wrote it; only held-out examples are used."""
    max_examples: int = 64
    """At most so many of them, in the order of their hashes."""
    max_tokens: int = 2048
    """Longer examples are left out, with a warning that counts them."""

    def __post_init__(self) -> None:
        """Raise ConfigError where a field is impossible."""
        for name in ("key", "name", "path"):
            text_check(f"sessions.{name}", getattr(self, name))
        whole_check("sessions.max_examples", self.max_examples, 1)
        whole_check("sessions.max_tokens", self.max_tokens, 8)


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """One prompt to answer."""

    sha256: str
    """Names the prompt in the output."""
    messages: tuple[Mapping[str, Any], ...]
    """The conversation so far: {"role", "content"} each; the model answers it."""

    def __post_init__(self) -> None:
        """Raise ConfigError where a field is impossible."""
        text_check("prompts.sha256", self.sha256)
        if not isinstance(self.messages, list | tuple) or not self.messages:
            raise ConfigError("prompts.messages", "no messages", "Give at least one message.")
        for message in self.messages:
            if not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
                cure = 'Give every message as {"role": ..., "content": text}.'
                raise ConfigError("prompts.messages", "a message without text", cure)
            choice_check("prompts.messages.role", message.get("role"), ROLES)
