"""Adaptive mode over whole benchmarks: the random order, and the verdict on what was measured.

The engine measures unit after unit in this order and stops as `evaluation.judging.sequential` says.
Whoever judges afterwards walks the same order again over the stored answers, so a verdict depends
on no claim of the engine: answers that do not end where the rule ends are refused. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.config import AdaptiveConfig, AdaptiveGroup
from evaluation.judging.comparison import BenchmarkComparison
from evaluation.judging.paired import Item, PairedItems, PairedTexts
from evaluation.judging.pairing import ComparisonError
from evaluation.judging.rule import Rule
from evaluation.judging.sequential import (
    HARM_SHOWN,
    NON_INFERIORITY_SHOWN,
    UNDECIDED,
    SequentialTest,
    harm_and_kept,
    loss_limits,
    sequential_order,
)
from evaluation.judging.verdict import Verdict, benchmark_under, comparisons_judge

Items = Mapping[str, Sequence[Item]]
"""Items by the name of their benchmark."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Items that are taken at once: a cluster of one benchmark, or a single item."""

    benchmark: str
    before: tuple[Item, ...]
    """As they were answered before."""


def units_in_order(before: Items, group: AdaptiveGroup, seed: str) -> list[Unit]:
    """All units of a group's benchmarks in their random order, the same one for every model.

    Raises ComparisonError where a benchmark has no items.
    """
    units: list[Unit] = []
    for name in group.benchmarks:
        clusters: dict[str, list[Item]] = {}
        for item in before.get(name, ()):
            key = item.doc_hash if item.cluster is None else f"cluster {item.cluster}"
            clusters.setdefault(key, []).append(item)
        if not clusters:
            raise ComparisonError(f"{name}: nothing was measured before; measure it first.")
        units += [Unit(benchmark=name, before=tuple(items)) for items in clusters.values()]
    # A cluster's place depends on one hash, so that large clusters do not come early.
    names = [f"{one.benchmark}\n{min(item.doc_hash for item in one.before)}" for one in units]
    return [units[place] for place in sequential_order(names, seed)]


def group_test(
    units: Sequence[Unit], group: AdaptiveGroup, config: AdaptiveConfig
) -> SequentialTest:
    """The test that says after each of these units whether the answer is certain."""
    return SequentialTest(
        margin=group.margin,
        alpha=config.alpha,
        largest_unit=max(len(one.before) for one in units),
        together=config.together,
    )


def unit_losses(unit: Unit, after: Mapping[str, Item]) -> list[int]:
    """+1 lost, -1 gained, 0 same for each item; `after` holds the answers by doc_hash.

    Raises ComparisonError where an item was asked differently.
    """
    losses = []
    for item in unit.before:
        now = after[item.doc_hash]
        for key in ("prompt_hash", "target_hash"):
            if getattr(now, key) != getattr(item, key):
                raise ComparisonError(
                    f"{unit.benchmark}: the {key.removesuffix('_hash')} of an item changed between "
                    "the two measurements; measure both with the same suite, settings and "
                    "tokenizer."
                )
        losses.append(int(item.correct) - int(now.correct))
    return losses


def stop_words(outcome: str, used: int, items: int, margin: float) -> str:
    """What happened to a group, for the event log and for pages."""
    points = f"{100 * margin:.3g} points"
    if outcome == NON_INFERIORITY_SHOWN:
        return f"stopped after {used} of {items} items: it surely lost less than {points}"
    if outcome == HARM_SHOWN and used < items:
        return f"stopped after {used} of {items} items: it surely lost more than {points}"
    return f"took all {items} items"


@dataclass(frozen=True, kw_only=True)
class GroupMeasured:
    """One group as far as it was measured."""

    group: AdaptiveGroup
    outcome: str
    """As in `evaluation.judging.sequential`."""
    items_used: int
    items: int
    total: BenchmarkComparison
    """Its items as one."""
    benchmarks: tuple[BenchmarkComparison, ...]
    """Each benchmark of which anything was measured."""

    @property
    def stop_words(self) -> str:
        """Where it was stopped, and why."""
        return stop_words(self.outcome, self.items_used, self.items, self.group.margin)


def group_judge(
    group: AdaptiveGroup, config: AdaptiveConfig, *, before: Items, after: Items, rule: Rule
) -> GroupMeasured:
    """Walk the order again over the answers that there are.

    Raises ComparisonError where they are not those that the order and the rule ask for.
    """
    units = units_in_order(before, group, config.seed)
    answers = {
        name: {item.doc_hash: item for item in after.get(name, ())} for name in group.benchmarks
    }
    test = group_test(units, group, config)
    seen: list[tuple[Unit, list[int]]] = []
    for unit in units:
        if any(item.doc_hash not in answers[unit.benchmark] for item in unit.before):
            break
        seen.append((unit, unit_losses(unit, answers[unit.benchmark])))
        if test.add(seen[-1][1]) != UNDECIDED:
            break
    items = sum(len(one.before) for one in units)
    if test.items_used == items:
        test.finish()
    elif test.outcome == UNDECIDED:
        raise ComparisonError(f"{group.name}: it was stopped before the answer was certain.")
    if test.items_used != sum(len(one) for one in answers.values()):
        raise ComparisonError(f"{group.name}: other items were measured than its order names.")
    largest = max(len(one.before) for one in units)

    def compared(name: str, names: Sequence[str], margin: float) -> BenchmarkComparison:
        chosen = [one for one in seen if one[0].benchmark in names]
        count = sum(len(one.before) for one in units if one.benchmark in names)
        return _comparison(name, chosen, count, largest, margin, config)

    reached = {unit.benchmark for unit, _ in seen}
    return GroupMeasured(
        group=group,
        outcome=test.outcome,
        items_used=test.items_used,
        items=items,
        total=compared(group.name, group.benchmarks, group.margin),
        benchmarks=tuple(
            compared(name, (name,), rule.margin_for(name))
            for name in group.benchmarks
            if name in reached
        ),
    )


def _comparison(
    name: str,
    seen: Sequence[tuple[Unit, list[int]]],
    items: int,
    largest: int,
    margin: float,
    config: AdaptiveConfig,
) -> BenchmarkComparison:
    """The comparison whose p and intervals come from the bets: they hold whenever one stops."""
    losses = [loss for _, unit in seen for loss in unit]
    sums = np.array([sum(unit) for _, unit in seen], dtype=np.float64)
    sizes = np.array([len(unit) for _, unit in seen])
    harm, kept = harm_and_kept(sums, sizes, margin, largest)
    p_loss = min(1.0, 1 / harm)
    alone, narrow, judged = (
        loss_limits(sums, sizes, largest, alpha)
        for alpha in (0.05, 0.025, config.alpha / config.together)
    )
    return BenchmarkComparison(
        name=name,
        n=len(losses),
        lost=losses.count(1),
        gained=losses.count(-1),
        correct_before=sum(item.correct for unit, _ in seen for item in unit.before),
        margin=margin,
        alpha=config.alpha,
        interval_90=alone.flipped(),
        interval_95=narrow.flipped(),
        loss_low=judged.low,
        clustered=None,
        nats=None,
        p_non_inferior=min(1.0, 1 / kept),
        p_mcnemar=p_loss,
        p_loss=p_loss,
        p_loss_holm=p_loss,
        items_in_all=items,
    )


def adaptive_judge(
    config: AdaptiveConfig,
    *,
    before: Items,
    after: Items,
    whole: Sequence[PairedItems],
    perplexities: Sequence[PairedTexts],
    rule: Rule,
    titles: Mapping[str, str] | None = None,
) -> Verdict:
    """Judge a measurement that was stopped early where the answer was certain.

    `whole`: benchmarks that could not be stopped early; with the held-out texts they are judged as
    ever. Raises ComparisonError as `group_judge`.
    """
    groups = [
        group_judge(group, config, before=before, after=after, rule=rule) for group in config.groups
    ]
    others = [benchmark_under(rule, one) for one in whole]
    names = [(titles or {}).get(one.group.name, one.group.name) for one in groups]
    words = [f"{name} {one.stop_words}" for name, one in zip(names, groups, strict=True)]
    judged = comparisons_judge(
        benchmarks=[*(one for group in groups for one in group.benchmarks), *others],
        totals=[*(one.total for one in groups), *others] if rule.gate_on == "pooled" else [],
        perplexities=perplexities,
        rule=rule,
        titles=titles or {},
    )
    return judged.stopped_early(words)
