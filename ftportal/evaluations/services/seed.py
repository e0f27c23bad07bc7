"""The suites and rules that a new portal starts with. They need nothing to be downloaded."""

from django.db import transaction

from evaluation.judging.rule import Rule
from evaluation.suites import local_benchmarks
from evaluation.suites.heldout import python_documentation_documents, python_source_documents
from ftportal.datasets.models import HeldOutSet
from ftportal.datasets.services import held_out_set_create
from ftportal.evaluations.models import Suite, VerdictRule
from ftportal.evaluations.services.suites import suite_create, verdict_rule_create

QUICK, FULL = "Quick look", "Full local suite"
QUICK_ITEMS, QUICK_DOCUMENTS, DOCUMENT_TOKENS = 12, 8, 512
QUICK_RULE, FULL_RULE = "Rule for a quick look", "Rule for the full suite"


@transaction.atomic
def evaluations_seed() -> Suite:
    """Make the rules, held-out sets and suites that are missing; returns the default suite."""
    held_out_sets = [
        _held_out(
            "Python documentation",
            domain="prose",
            source="Topics of the language reference that comes with Python",
        ),
        _held_out(
            "Python source",
            domain="code",
            source="Modules of the standard library that comes with Python",
        ),
    ]
    items = QUICK_ITEMS * len(local_benchmarks())
    quick = _suite(
        QUICK,
        description=(
            f"A subset of {items} items, {QUICK_ITEMS} of each local benchmark, and the first "
            f"{DOCUMENT_TOKENS} tokens of {QUICK_DOCUMENTS} documents of each held-out set."
        ),
        limit=QUICK_ITEMS,
        max_documents=QUICK_DOCUMENTS,
        held_out_sets=held_out_sets,
        rule=_rule(QUICK_RULE, Rule()),
        is_default=not Suite.objects.filter(is_default=True).exists(),
    )
    _suite(
        FULL,
        description=(
            "Every item of the five local benchmarks, and the first "
            f"{DOCUMENT_TOKENS} tokens of every held-out document."
        ),
        limit=None,
        max_documents=None,
        held_out_sets=held_out_sets,
        # Five times the items can show a loss half as large.
        rule=_rule(FULL_RULE, Rule(pooled_margin=0.05)),
        is_default=False,
    )
    return quick


def _held_out(name: str, *, domain: str, source: str) -> HeldOutSet:
    known = HeldOutSet.objects.filter(name=name).first()
    if known is not None:
        return known
    made = python_source_documents if domain == "code" else python_documentation_documents
    return held_out_set_create(
        name=name, domain=domain, source=source, documents=[one["text"] for one in made()]
    )


def _rule(name: str, rule: Rule) -> VerdictRule:
    """The newest version of a rule, which an administrator may have changed since."""
    known = VerdictRule.objects.filter(name=name).order_by("-version").first()
    return known or verdict_rule_create(name=name, rule=rule)


def _suite(
    name: str,
    *,
    description: str,
    limit: int | None,
    max_documents: int | None,
    held_out_sets: list[HeldOutSet],
    rule: VerdictRule,
    is_default: bool,
) -> Suite:
    known = Suite.objects.filter(name=name).order_by("-version").first()
    if known is not None:
        return known
    return suite_create(
        name=name,
        description=description,
        benchmarks=[
            {"name": one.name, "source": "local", "limit": limit} for one in local_benchmarks()
        ],
        held_out_sets=held_out_sets,
        settings={"max_documents": max_documents, "max_document_tokens": DOCUMENT_TOKENS},
        rule=rule,
        is_default=is_default,
    )
