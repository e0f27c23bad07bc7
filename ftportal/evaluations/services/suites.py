"""Suites and the rules they are judged by: both versioned, both immutable once made."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Max

from engine.errors import ProblemError
from evaluation.config import AUTO
from evaluation.judging.rule import Rule
from ftportal.audit.services import difference, record
from ftportal.datasets.models import HeldOutSet
from ftportal.evaluations.models import Suite, VerdictRule
from ftportal.evaluations.selectors import known_benchmarks

SETTINGS = {
    "window_tokens": 1024,
    "stride_tokens": 512,
    "batch_size": AUTO,
    "dtype": AUTO,
    "device": "auto",
    "seed": 0,
    "kl_tokens": 512,
    "allow_code_execution": False,
    "max_documents": None,
    "max_document_tokens": 1024,
}
"""What a suite pins beside its benchmarks; the last two say how much of a held-out set is read.
What is AUTO is found by the first measurement of each model, and pinned for all that follow."""
CHAT = {"chat_template": False, "template_arguments": {}}
"""Whether benchmarks are asked through the model's chat template, and with which arguments. Pinned
where a suite says so: suites that do not are what they were before they could."""


class EvaluationError(ProblemError):
    """Something cannot be measured or judged."""


@transaction.atomic
def verdict_rule_create(*, name: str, rule: Rule) -> VerdictRule:
    """The next version of the rule called `name`; suites that used an earlier one move to it.

    The version that is there already is returned where nothing differs. Verdicts keep the version
    that they were reached by.
    """
    latest = VerdictRule.objects.filter(name=name).order_by("-version").first()
    fields = rule.to_json()
    if latest is not None and latest.rule == fields:
        return latest
    made = VerdictRule(name=name, version=latest.version + 1 if latest else 1, rule=fields)
    made.full_clean()
    made.save()
    Suite.objects.filter(rule__name=name).update(rule=made)
    before, after = difference(latest.rule if latest else {}, fields)
    record("rule.changed" if latest else "rule.made", made, before=before, after=after)
    return made


@transaction.atomic
def suite_create(
    *,
    name: str,
    version: int | None = None,
    description: str,
    benchmarks: Sequence[dict[str, Any]],
    held_out_sets: Sequence[HeldOutSet],
    settings: dict[str, Any],
    rule: VerdictRule,
    is_default: bool = False,
) -> Suite:
    """Make a suite; `benchmarks` are {"name", "source", "limit"}, `settings` override SETTINGS.

    `version` None takes the next one of that name. A default suite takes the place of the one
    before. Raises EvaluationError for an unknown benchmark or setting, a version that exists, a
    suite without anything to measure, or a benchmark that runs code where that is not allowed.
    """
    _settings_check(settings)
    last = Suite.objects.filter(name=name).aggregate(last=Max("version"))["last"] or 0
    if version is not None and Suite.objects.filter(name=name, version=version).exists():
        raise EvaluationError(
            f"{name}, version {version} exists and never changes.", f"Make version {last + 1}."
        )
    suite = Suite(
        name=name,
        version=version or last + 1,
        description=description,
        benchmarks=[_benchmark_pinned(one) for one in benchmarks],
        settings=SETTINGS | {k: v for k, v in settings.items() if k in SETTINGS or v},
        rule=rule,
        is_default=is_default,
    )
    _check_content(suite, held_out_sets)
    suite.content_hash = _content_hash(suite, held_out_sets)
    suite.full_clean()
    default = Suite.objects.filter(is_default=True).first()
    if is_default:
        Suite.objects.filter(is_default=True).update(is_default=False)
    suite.save()
    suite.held_out_sets.set(held_out_sets)
    record("suite.made", suite, after={"rule": str(rule), "sha256": suite.content_hash})
    if is_default:
        record("suite.default", suite, before={"suite": str(default) if default else ""})
    return suite


def _settings_check(settings: Mapping[str, Any]) -> None:
    known = SETTINGS | CHAT
    unknown = settings.keys() - known.keys()
    if unknown:
        raise EvaluationError(
            f"A suite has no setting {sorted(unknown)[0]}.", f"Use: {', '.join(known)}."
        )
    if settings.get("template_arguments") and not settings.get("chat_template"):
        raise EvaluationError(
            "Template arguments are given to no template.",
            "Ask benchmarks through the chat template, or leave them out.",
        )


def _check_content(suite: Suite, held_out_sets: Sequence[HeldOutSet]) -> None:
    if not suite.benchmarks and not held_out_sets:
        raise EvaluationError("The suite measures nothing.", "Choose a benchmark or a text.")
    names = [one["name"] for one in suite.benchmarks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise EvaluationError(f"{twice} stands in it twice.", "Leave one of the two out.")
    known = known_benchmarks()
    for name in names:
        runs_code = name in known and known[name].runs_code
        if runs_code and not suite.settings["allow_code_execution"]:
            raise EvaluationError(
                f"{known[name].title} runs code that the model wrote, which is switched off.",
                "Allow it for this suite, or leave it out.",
            )


def suite_check(suite: Suite) -> None:
    """Raise EvaluationError where a benchmark or held-out set is no longer what it was."""
    for pinned in suite.benchmarks:
        now = _benchmark_pinned(pinned)
        if now["content_hash"] != pinned["content_hash"]:
            raise EvaluationError(
                f"The items of {pinned['name']} have changed since the suite {suite} was made.",
                "Make a new version of the suite: figures from different items cannot be compared.",
            )
    for held_out in suite.held_out_sets.all():
        if not held_out.path.is_file():
            raise EvaluationError(
                f"The documents of the held-out set {held_out} are missing on disk.",
                f"Put {held_out.path.name} back into the data directory, or use another suite.",
            )


def _benchmark_pinned(benchmark: dict[str, Any]) -> dict[str, Any]:
    """What a suite keeps of a benchmark: with the hash of its items where they are kept here."""
    name, limit = benchmark["name"], benchmark.get("limit")
    source = benchmark.get("source", "local")
    known = known_benchmarks().get(name)
    if source == "lm_eval" and (known is None or known.source == "lm_eval"):
        counts = known.item_count if known else None
        return {
            "name": name,
            "source": source,
            "limit": limit,
            "item_count": min(filter(None, (limit, counts)), default=None),
            "content_hash": None,
        }
    if known is None or known.source != source:
        names = ", ".join(one for one, two in known_benchmarks().items() if two.source == source)
        raise EvaluationError(f"There is no benchmark called {name}.", f"There are: {names}.")
    if limit is not None and not 1 <= limit <= known.item_count:
        raise EvaluationError(
            f"{known.title} has {known.item_count} items, so {limit} of them cannot be measured.",
            "Choose a limit in between, or none.",
        )
    return {
        "name": name,
        "source": source,
        "limit": limit,
        "item_count": limit or known.item_count,
        "content_hash": known.content_hash,
    }


def _content_hash(suite: Suite, held_out_sets: Sequence[HeldOutSet]) -> str:
    content = {
        "benchmarks": suite.benchmarks,
        "held_out": sorted(one.sha256 for one in held_out_sets),
        "settings": suite.settings,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
