"""What came out of one run, in two sentences: what it learned and what it cost."""

from dataclasses import dataclass

from ftportal.checkpoints.models import Checkpoint
from ftportal.dashboard.selectors.measurements import suite_in_common
from ftportal.dashboard.selectors.sessions import result_of, verdicts_by_candidate
from ftportal.dashboard.selectors.tradeoff import own_batches, own_gains
from ftportal.evaluations.models import Verdict
from ftportal.evaluations.selectors import (
    Change,
    baselines,
    evaluation_of,
    live_evaluations,
    retention_jobs,
)
from ftportal.jobs.models import Job
from ftportal.pages.templatetags.pages import fixed, signed
from ftportal.runs.models import Run


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run that has ended, as its page opens with it."""

    result: Checkpoint
    learned: str
    cost: str
    verdict: Verdict | None
    """The worst of its newest verdicts, for one is enough to bar it."""
    jobs: list[Job]
    """What is being measured, and may still change either sentence."""


def outcome_of(run: Run) -> Outcome | None:
    """What came out of a run; None where it left no checkpoint. Reads `run.mixture`."""
    result = result_of(run)
    if result is None:
        return None
    sides = [*baselines(result), result]
    jobs = [one.job for one in live_evaluations(sides)]
    jobs += [job for job in retention_jobs(sides) if job.is_live]
    suite = suite_in_common([one.pk for one in sides])
    gain = own_gains(run, [result.pk], suite)[result.pk]
    verdict = next(iter(verdicts_by_candidate([result.pk]).get(result.pk, [])), None)
    measured = suite is not None and evaluation_of(result, suite) is not None
    return Outcome(
        result=result,
        learned=_learned_words(gain, _taught_words(run), is_awaited=bool(jobs)),
        cost=_cost_words(verdict, is_measured=measured, is_awaited=bool(jobs)),
        verdict=verdict,
        jobs=list({job.pk: job for job in jobs}.values()),
    )


def _taught_words(run: Run) -> str:
    own = set(own_batches(run))
    names = [str(part.batch) for part in run.mixture.all() if part.batch.pk in own]
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _learned_words(gain: Change, taught: str, *, is_awaited: bool) -> str:
    """Of the examples that were set aside from what it was taught."""
    if gain.value is None:
        if is_awaited and taught:
            return f"What it learned is being measured, on examples set aside from {taught}."
        return f"What it learned is not known: {gain.why_missing}."
    span = ""
    if gain.low is not None and gain.high is not None:
        span = f" (95 % interval {signed(gain.low, 2)} to {signed(gain.high, 2)})"
    examples = f"examples set aside from {taught}"
    amount = f"{'less' if gain.value >= 0 else 'more'} surprising by {fixed(abs(gain.value), 2)}"
    became = f"{examples} became {amount} nats a decision token{span}"
    if gain.low is not None and gain.low > 0:
        return f"It learned what it was taught: {became}."
    if gain.high is not None and gain.high < 0:
        return f"It got worse at what it was taught: {became}."
    return f"Whether it learned is not clear: {became}."


def _cost_words(verdict: Verdict | None, *, is_measured: bool, is_awaited: bool) -> str:
    if verdict is not None:
        return verdict.reason.partition("\n")[0]
    if is_awaited:
        return "What it cost is being measured."
    if is_measured:
        return "What it cost was measured, but there is no verdict: the figures below say why."
    return "What it cost was not measured yet."
