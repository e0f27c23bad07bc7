"""Watching a session for what it forgets while it trains."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.checks import ConfigError, number_check, text_check, whole_check
from training.config.batch import BatchConfig


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """A small set of texts that is never learnt, whose perplexity is watched."""

    key: str
    """Names the probe in metrics; unlike every batch's key, without a slash."""
    name: str
    """What people call it."""
    path: str
    """Its documents, one {"text", "sha256"} a line; the last ones are read."""

    def __post_init__(self) -> None:
        for name in ("key", "name", "path"):
            text_check(f"probes.{name}", getattr(self, name))
        if "/" in self.key:
            raise ConfigError("probes.key", f"{self.key!r} has a slash", "Use a key without one.")


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """Perplexity of held-out text and KL divergence from the parent, every so many steps.

    The trained weights are the same with and without, unless the brake is on and stops the run.
    """

    watch_every_steps: int = 20
    """Steps from one look to the next, and one at the end; 0: never. A look that takes more than
    diagnostics_share of the time is taken less often, but what the brake goes by never is."""
    watch_probe_tokens: int = 512
    """Tokens of each probe that are read at every look: of each general set of texts and of each
    batch's own held-out examples."""
    watch_kl_tokens: int = 128
    """Decision tokens of the run's examples on which the divergence from the parent is measured.
    The parent's prediction of each stays in memory: 4 bytes for every entry of the vocabulary."""
    brake_rise: float | None = None
    """Stop once the perplexity of general text has risen by more than this share (0.05 is 5 %) over
    the parent's, and keep the weights of the last look before; None: never. Keeps a copy of the
    trained weights in the computer's memory."""

    def __post_init__(self) -> None:
        whole_check("watch.watch_every_steps", self.watch_every_steps, 0)
        whole_check("watch.watch_probe_tokens", self.watch_probe_tokens, 2)
        whole_check("watch.watch_kl_tokens", self.watch_kl_tokens, 1)
        number_check("watch.brake_rise", self.brake_rise, above=True, optional=True)
        if not self.watch_every_steps:
            self._unwatched_check()
        if self.brake_rise is not None and not self.watch_every_steps:
            message = "without a look there is nothing that the brake could go by"
            raise ConfigError(
                "watch.brake_rise", message, "Set watch_every_steps, or leave it out."
            )

    def _unwatched_check(self) -> None:
        """Refuse an amount of what is never looked at; ConfigError names it."""
        for name in ("watch_probe_tokens", "watch_kl_tokens"):
            if getattr(self, name) != getattr(type(self), name):
                message = "has no meaning where nothing is watched"
                raise ConfigError(
                    f"watch.{name}", message, "Leave it out, or set watch_every_steps."
                )

    def texts_check(self, batches: Sequence[BatchConfig], probes: Sequence[ProbeConfig]) -> None:
        """Refuse probes that share a key, and a brake that no text could ever pull."""
        keys = [batch.key for batch in batches] + [probe.key for probe in probes]
        if len(set(keys)) < len(keys):
            raise ConfigError("probes.key", "a batch or probe has it already", "Choose another.")
        if probes and not self.watch_every_steps:
            message = "nothing is watched, so these texts would never be read"
            raise ConfigError("probes", message, "Leave them out, or set watch.watch_every_steps.")
        has_general = bool(probes) or any(batch.kind == "general" for batch in batches)
        if self.brake_rise is not None and not has_general:
            raise brake_refusal()


def brake_refusal() -> ConfigError:
    """The refusal of a brake without general text to go by."""
    return ConfigError(
        "watch.brake_rise",
        "the brake goes by general text, and there is none that is not learnt",
        "Choose a held-out text to watch, or add a general batch with held-out examples (about one "
        "in ten is).",
    )
