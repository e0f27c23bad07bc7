"""What to try after a forgotten verdict: proposals with their reason, the mildest first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from ftportal.blends.models import Blend
from ftportal.blends.selectors import blend_of
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch, BatchKind
from ftportal.datasets.selectors import batches_ready
from ftportal.runs.models import Run
from ftportal.runs.selectors import run_again_url
from training.ahead.warnings import rate_words
from training.methods import METHODS
from training.methods.method import Method

GENERAL_SHARE_WANTED = 0.3
"""The upper end of the usual 20 to 30 %; twenty points more where that was not enough."""
GENERAL_SHARE_MOST = 0.6
_PERCENTS = "25, 50, 75"


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """One proposal. Without `url` it is advice that no form can follow."""

    title: str
    reason: str
    url: str = ""
    button: str = "Open the run form with it"


def remedies(checkpoint: Checkpoint) -> list[Remedy]:
    """Proposals for a checkpoint that has forgotten, in the order in which to try them.

    For what a run made: the same run, gentler. For a blend: one nearer to the parent.
    """
    run = Run.objects.filter(output=checkpoint).prefetch_related("mixture__batch").first()
    if run is not None:
        return [
            *_gentler(run),
            *_more_general(run),
            _pause(),
            *_ewc(run),
            *_other_methods(run),
            _blend(checkpoint),
        ]
    blend = blend_of(checkpoint)
    return [_nearer(blend)] if blend is not None else []


def _gentler(run: Run) -> list[Remedy]:
    method, rate = _method(run), float(run.recipe["learning_rate"])
    half = rate / 2
    reason = (
        f"It learned at {rate_words(rate)}. At half of that the weights move about half as far "
        "in as many steps, and what they move away from is what is forgotten."
    )
    gentler = [
        Remedy(
            title=f"Half the rate: {rate_words(half)}",
            reason=reason,
            url=run_again_url(run, learning_rate=f"{half:g}"),
        )
    ]
    if method is None:  # of a version that knew it: nothing is known of its rates
        return gentler
    low, high = method.safe_rates
    if half > high:
        gentler.append(
            Remedy(
                title=f"The highest rate known to be safe: {rate_words(high)}",
                reason=f"Half is still a lot: with {method.name}, {rate_words(low)} to "
                f"{rate_words(high)} is where models learn without forgetting much.",
                url=run_again_url(run, learning_rate=f"{high:g}"),
            )
        )
    return gentler


def _more_general(run: Run) -> list[Remedy]:
    share = _general_share(run)
    wanted = _wanted_share(share)
    weights = _general_weights(run, wanted)
    if share >= GENERAL_SHARE_MOST:
        return []
    title = f"More general examples: {100 * wanted:.0f} % instead of {100 * share:.0f} %"
    reason = (
        "A model forgets what it does not see. General examples beside the new ones keep the rest "
        "in use."
    )
    if weights is None:
        return [
            Remedy(
                title=title,
                reason=f"{reason} There is no general batch for this model yet.",
                url=reverse("datasets:batch_new"),
                button="Upload general examples",
            )
        ]
    return [Remedy(title=title, reason=reason, url=run_again_url(run, **weights))]


def _pause() -> Remedy:
    return Remedy(
        title="A longer pause between sessions",
        reason="Do not train on this batch now: keep it until the next planned session and give "
        "both batches to one run. The weights then move once instead of twice, over more varied "
        "examples. There is no form for it; it is a matter of planning.",
    )


def _ewc(run: Run) -> list[Remedy]:
    before = (run.recipe.get("defences") or {}).get("ewc_strength")
    changes: dict[str, Any] = {"ewc_strength": f"{10 * before if before else 1:g}"}
    if not _general_share(run):
        weights = _general_weights(run, GENERAL_SHARE_WANTED)
        if weights is None:
            return []  # its importances are measured on general examples
        changes |= weights
    if before is None:
        changes["ewc_variant"] = "row"
    title = "Elastic weight consolidation (EWC)"
    if before is not None:
        title = f"A stronger EWC: {changes['ewc_strength']} instead of {before:g}"
    return [
        Remedy(
            title=title,
            reason="It measures which weights matter for general examples and pulls those back "
            "while the others learn. It costs some memory and a look at the general examples "
            "before the first step.",
            url=run_again_url(run, **changes),
        )
    ]


def _other_methods(run: Run) -> list[Remedy]:
    own = _method(run)
    return [
        Remedy(
            title=f"{method.name} at {rate_words(method.safe_rates[0])}",
            reason=method.remedy,
            url=run_again_url(run, method=key, learning_rate=f"{method.safe_rates[0]:g}"),
        )
        for key, method in METHODS.items()
        if method.remedy is not None and method is not own
    ]


def _blend(checkpoint: Checkpoint) -> Remedy:
    return Remedy(
        title="A blend with its parent",
        reason="Nothing is trained again: weights part of the way back to the parent often keep "
        "most of what was learned and give back most of what was lost. Each is measured afresh.",
        url=_blends_url(checkpoint.pk, _PERCENTS),
        button="Choose how far",
    )


def _nearer(blend: Blend) -> Remedy:
    percents = f"{50 * blend.alpha:g}"
    return Remedy(
        title=f"A blend nearer to the parent: {percents} %",
        reason=f"{100 * blend.alpha:g} % of the way was too far; half of that gives back more.",
        url=_blends_url(blend.candidate_id, percents),
        button="Choose how far",
    )


def _blends_url(candidate_pk: int, percents: str) -> str:
    query = urlencode({"percents": percents})
    return f"{reverse('blends:blends', args=[candidate_pk])}?{query}"


def _method(run: Run) -> Method | None:
    return METHODS.get(run.recipe["method"]["name"])


def _weights(run: Run) -> Mapping[Batch, float]:
    return {part.batch: part.weight for part in run.mixture.all()}


def _general_share(run: Run) -> float:
    weights = _weights(run)
    total = sum(weights.values())
    general = sum(weight for batch, weight in weights.items() if batch.kind == BatchKind.GENERAL)
    return general / total if total else 0.0


def _wanted_share(share: float) -> float:
    if share < GENERAL_SHARE_WANTED - 0.01:
        return GENERAL_SHARE_WANTED
    return min(GENERAL_SHARE_MOST, share + 0.2)


def _general_weights(run: Run, share: float) -> dict[str, str] | None:
    """weight_<batch> fields that give general batches this share; None where there is no such
    batch, or where the run learned nothing else."""
    weights = _weights(run)
    general = {batch: one for batch, one in weights.items() if batch.kind == BatchKind.GENERAL}
    rest = sum(weights.values()) - sum(general.values())
    if not general:
        ready = batches_ready(run.parent.language_model).filter(kind=BatchKind.GENERAL)
        general = dict.fromkeys(ready.order_by("-created_at")[:1], 1.0)
    if not general or not rest:
        return None
    factor = share / (1 - share) * rest / sum(general.values())
    return {f"weight_{batch.pk}": f"{weight * factor:.4g}" for batch, weight in general.items()}
