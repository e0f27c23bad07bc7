"""What a run watches while it trains: its texts, its brake, and the words for both."""

from collections.abc import Mapping, Sequence
from typing import Any

from ftportal.datasets.models import Batch, BatchKind, HeldOutSet
from training.config import RunConfig, WatchConfig, brake_refusal


def probe_key(probe_set: HeldOutSet) -> str:
    """How the engine names a watched text in its metrics."""
    return f"h{probe_set.pk}"


def probe_records(probe_set: HeldOutSet | None, recipe: Mapping[str, Any]) -> list[dict[str, str]]:
    """The watched text as the engine's config has it; none for a recipe that watches nothing."""
    if probe_set is None or not is_watched(recipe):
        return []
    path = str(probe_set.path.resolve())
    return [{"key": probe_key(probe_set), "name": probe_set.name, "path": path}]


def is_watched(recipe: Mapping[str, Any]) -> bool:
    """Whether a run of this recipe looks at anything while it trains."""
    settings = recipe.get("watch") or {}
    return settings.get("watch_every_steps", WatchConfig().watch_every_steps) != 0


def brake_check(config: RunConfig, batches: Sequence[Batch]) -> None:
    """Refuse a brake that no text could ever pull, before any GPU time; ConfigError."""
    if config.watch.brake_rise is None or config.probes:
        return
    if not any(batch.kind == BatchKind.GENERAL and batch.held_out_count for batch in batches):
        raise brake_refusal()


def watch_words(
    recipe: Mapping[str, Any], probe_set: HeldOutSet | None = None
) -> list[tuple[str, str]]:
    """What a run watches, as rows of label and value; none for runs of earlier versions."""
    settings = recipe.get("watch")
    if not settings:
        return []
    if not is_watched(recipe):
        return [("Watched while it trains", "nothing")]
    text = f", {probe_set}" if probe_set else ""
    every = f"every {settings['watch_every_steps']} steps{text}"
    rise = settings.get("brake_rise")
    brake = "off" if rise is None else f"stops where perplexity has risen by {percent(rise)}"
    return [("Watched while it trains", every), ("Brake", brake)]


def percent(share: float) -> str:
    """A share in percent with as many digits as it needs: 5 %, 0.5 %."""
    return f"{100 * share:.3g} %"
