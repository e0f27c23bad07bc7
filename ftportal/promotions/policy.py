"""The promotion policy: which suite and rule open the gates, and which verdicts are in force."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.models import Suite, Verdict, VerdictOutcome, VerdictRule
from ftportal.evaluations.selectors import default_suite

Pair = tuple[int, int]
"""Keys of a candidate and of what it was compared with."""


def verdicts_by_pair(candidates: Collection[int]) -> Mapping[Pair, list[Verdict]]:
    """Of every pair the last verdict of every suite that judged it; empty for other pairs."""
    rows = (
        Verdict.objects.filter(after__checkpoint__in=candidates)
        .select_related("rule", "before", "after__suite")
        .defer("evidence")
        .order_by("-created_at", "-pk")
    )
    last: dict[Pair, dict[str, Verdict]] = defaultdict(dict)
    for verdict in rows:
        pair = (verdict.after.checkpoint_id, verdict.before.checkpoint_id)
        last[pair].setdefault(verdict.after.suite.content_hash, verdict)
    verdicts: dict[Pair, list[Verdict]] = defaultdict(list)
    return verdicts | {pair: list(by_suite.values()) for pair, by_suite in last.items()}


def verdicts_in_force(candidate: Checkpoint, baseline: Checkpoint) -> list[Verdict]:
    """The last verdict of every suite that judged the pair."""
    return verdicts_by_pair([candidate.pk])[candidate.pk, baseline.pk]


def loss_shown(verdicts: Sequence[Verdict]) -> Verdict | None:
    """A verdict that says forgotten, by whatever suite: no other verdict outvotes it."""
    return next((one for one in verdicts if one.outcome == VerdictOutcome.FORGOTTEN), None)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What opens the gates of verdicts: one suite, judged by one rule."""

    suite: Suite
    """The default suite."""

    @property
    def rule(self) -> VerdictRule:
        """The version of the suite's rule that is in force."""
        return self.suite.rule

    def decisive_verdict(self, verdicts: Sequence[Verdict]) -> Verdict | None:
        """The verdict that counts: one that shows a loss, else the one by this suite and rule."""
        own = (
            one
            for one in verdicts
            if one.after.suite.content_hash == self.suite.content_hash
            and one.rule_id == self.suite.rule_id
        )
        return loss_shown(verdicts) or next(own, None)


def policy_in_force() -> Policy | None:
    """The promotion policy; None while no suite is the default."""
    suite = default_suite()
    return Policy(suite=suite) if suite is not None else None
