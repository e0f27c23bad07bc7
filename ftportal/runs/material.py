"""What a run will go through, in examples and tokens, told before it starts."""

from collections.abc import Sequence

from ftportal.datasets.models import Batch, BatchKind, HeldOutSet
from ftportal.runs.recipes import Mixture, shares
from training.ahead.mixture import mixture_counts
from training.ahead.passes import Material, MeanExample, Passes, ProbeSize
from training.config import RunConfig

PASS_NAMES = {
    "ewc": "EWC",
    "masking": "looking for unlikely tokens",
    "watching": "watching",
    "measuring": "measuring",
}


def material_of(
    config: RunConfig, mixture: Mixture, probe_set: HeldOutSet | None, step_count: int
) -> Material:
    """What a run of so many steps goes through; only means of the examples are known."""
    counts = [batch.trained_count for batch, _ in mixture]
    drawn = mixture_counts(counts, [weight for _, weight in mixture])
    total = sum(drawn) * config.epochs
    examples = min(total, step_count * config.examples_per_step)
    times = examples / max(1, sum(drawn))  # how often an epoch's worth is drawn
    general = [batch for batch, _ in mixture if batch.kind == BatchKind.GENERAL]
    own = [batch.trained_count for batch in general]
    return Material(
        step_count=step_count,
        examples=examples,
        distinct=sum(min(there, times * taken) for there, taken in zip(counts, drawn, strict=True)),
        mean=mean_example(mixture),
        general=mean_example(list(zip(general, own, strict=True))) if sum(own) else None,
        general_count=sum(own),
        probes=_probe_sizes(config, [batch for batch, _ in mixture], probe_set),
    )


def mean_example(mixture: Mixture) -> MeanExample:
    """What an example drawn from a mixture holds on average."""
    context = decision = decisions = 0.0
    for (batch, _), share in zip(mixture, shares(mixture), strict=True):
        examples = batch.example_count or 1
        context += share * (batch.context_token_count or 0) / examples
        decision += share * (batch.decision_token_count or 0) / examples
        # Batches that were read before decisions were counted: one an example.
        decisions += share * (batch.decision_count or examples) / examples
    return MeanExample(context_tokens=context, decision_tokens=decision, decisions=decisions)


def _probe_sizes(
    config: RunConfig, batches: Sequence[Batch], probe_set: HeldOutSet | None
) -> list[ProbeSize]:
    """The texts that are watched: as many whole examples as their limit lets in, one at least."""
    limit = config.watch.watch_probe_tokens
    sizes = [ProbeSize(tokens=limit, is_general=True)] if probe_set and config.probes else []
    for batch in batches:
        if batch.held_out_count:
            each = max(1.0, mean_example([(batch, 1.0)]).tokens)
            fitting = max(1, min(batch.held_out_count, int(limit / each)))
            general = batch.kind == BatchKind.GENERAL
            sizes.append(ProbeSize(tokens=fitting * each, is_general=general))
    return sizes


def beside_words(passes: Passes) -> str:
    """What of a run's time is for something else than training; "" where next to nothing is."""
    total = passes.training + passes.beside
    parts = [
        f"{100 * getattr(passes, name) / total:.0f} % for {words}"
        for name, words in PASS_NAMES.items()
        if total and getattr(passes, name) / total >= 0.005
    ]
    return f"of the time {', '.join(parts)}" if parts else ""
