"""A rule in plain words."""

from dataclasses import dataclass

from evaluation.judging.rule import Rule
from ftportal.evaluations.models import Suite, VerdictRule
from ftportal.evaluations.selectors.benchmarks import benchmark_titles


def points(share: float) -> str:
    """A share of the items as percentage points: 0.05 -> 5."""
    return f"{100 * share:.4g}"


def rule_sentences(rule: Rule) -> list[str]:
    """What a rule asks for, one sentence each, for people who never read a statistics book."""
    certainty = points(1 - rule.alpha)
    sentences = []
    if rule.gate_on == "pooled":
        sentences.append(
            f"Over all benchmark items together, at most {points(rule.pooled_margin)} of 100 "
            "right answers may be lost on balance. A single benchmark need not show that it lost "
            "nothing, for it has too few items; but where it shows by itself that it lost more "
            f"than {points(rule.default_margin)} of 100, the model has forgotten."
        )
    else:
        sentences.append(
            f"On every benchmark, at most {points(rule.default_margin)} of 100 right answers may "
            "be lost on balance; each benchmark must pass on its own."
        )
        titles = benchmark_titles()
        sentences += [
            f"On {titles.get(name, name)}, it is at most {points(margin)} of 100."
            for name, margin in rule.margins.items()
        ]
    sentences.append(
        "On every held-out text, perplexity may rise by at most "
        f"{points(rule.perplexity_margin_ratio - 1)} %."
    )
    sentences.append(
        f"Retained means that this is shown with {certainty} % certainty, not that no difference "
        "was found. Forgotten means that a loss larger than allowed is shown with the same "
        "certainty. Everything in between is inconclusive."
    )
    return sentences


def anchor_sentence(rule: Rule) -> str:
    """How the rule counts small losses that add up over sessions."""
    return (
        "Against the pre-trained model, where the losses of all sessions add up, "
        f"{rule.anchor_factor:.4g} times these margins are allowed from the second session on."
    )


@dataclass(frozen=True, kw_only=True)
class RuleView:
    """A rule in force, in words, with who uses it and what it was before."""

    stored: VerdictRule
    rule: Rule
    sentences: list[str]
    suites: list[Suite]
    earlier: list[VerdictRule]


def rules_in_force() -> list[RuleView]:
    """The newest version of every rule, by name, with its earlier versions."""
    versions: dict[str, list[VerdictRule]] = {}
    for stored in VerdictRule.objects.order_by("name", "-version"):
        versions.setdefault(stored.name, []).append(stored)
    views = []
    for newest, *earlier in versions.values():
        rule = Rule.from_json(newest.rule)
        views.append(
            RuleView(
                stored=newest,
                rule=rule,
                sentences=[*rule_sentences(rule), anchor_sentence(rule)],
                suites=list(Suite.objects.filter(rule=newest)),
                earlier=earlier,
            )
        )
    return views
