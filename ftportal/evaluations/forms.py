"""Forms of the evaluations app."""

from typing import Any

from django import forms

from evaluation.judging.rule import Rule, RuleError
from ftportal.evaluations.models import VerdictRule
from ftportal.evaluations.selectors import judged_benchmarks

MARGIN_PREFIX = "margin_"
GATES = (
    ("pooled", "All items together, and every held-out text"),
    ("each", "Every benchmark on its own, and every held-out text"),
)


class RuleForm(forms.Form):
    """A rule's margins in the units that people think in: points and percent."""

    gate_on = forms.ChoiceField(label="What decides", choices=GATES, widget=forms.RadioSelect)
    pooled_points = forms.FloatField(
        label="All benchmarks together: points that may be lost",
        help_text="Of 100 right answers. A small margin needs many items to be shown.",
    )
    default_points = forms.FloatField(
        label="One benchmark: points that may be lost",
        help_text="For every benchmark without a margin of its own below.",
    )
    perplexity_percent = forms.FloatField(
        label="Held-out text: percent that perplexity may rise",
        help_text="On every text. Perplexity is measured far more exactly than right answers.",
    )
    certainty_percent = forms.FloatField(
        label="Certainty in percent",
        help_text="95 means: a loss as large as the margin passes at most 5 times in 100.",
    )
    anchor_factor = forms.FloatField(
        label="Budget against the pre-trained model",
        help_text="From the second session on, the margins times this are allowed in all.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, title in judged_benchmarks().items():
            self.fields[MARGIN_PREFIX + name] = forms.FloatField(
                label=title,
                required=False,
                widget=forms.NumberInput(attrs={"placeholder": "as above"}),
            )
        for name, field in self.fields.items():
            if name != "gate_on":
                field.widget.attrs |= {"step": "any", "inputmode": "decimal"}

    @property
    def margin_fields(self) -> list[forms.BoundField]:
        """The margins of single benchmarks, empty where the common one applies."""
        return [self[name] for name in self.fields if name.startswith(MARGIN_PREFIX)]

    def clean(self) -> dict[str, Any]:
        """Build the rule; what the engine refuses is told at its field."""
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        try:
            cleaned["rule"] = _rule(cleaned)
        except RuleError as error:
            place = _FIELD_OF.get(error.where, _margin_field(error.where))
            self.add_error(place, _RANGES.get(error.where, USUAL_RANGE))
        return cleaned

    @classmethod
    def of(cls, stored: VerdictRule) -> "RuleForm":
        """The form filled with a stored rule."""
        rule = Rule.from_json(stored.rule)
        initial: dict[str, Any] = {
            "gate_on": rule.gate_on,
            "pooled_points": _in_hundredths(rule.pooled_margin),
            "default_points": _in_hundredths(rule.default_margin),
            "perplexity_percent": _in_hundredths(rule.perplexity_margin_ratio - 1),
            "certainty_percent": _in_hundredths(1 - rule.alpha),
            "anchor_factor": f"{rule.anchor_factor:g}",
        }
        margins = {MARGIN_PREFIX + name: _in_hundredths(m) for name, m in rule.margins.items()}
        return cls(initial=initial | margins)


_FIELD_OF = {
    "alpha": "certainty_percent",
    "pooled_margin": "pooled_points",
    "default_margin": "default_points",
    "perplexity_margin_ratio": "perplexity_percent",
    "anchor_factor": "anchor_factor",
    "gate_on": "gate_on",
}
USUAL_RANGE = "Write a number above 0 and below 100."
_RANGES = {
    "alpha": "Write a number above 50 and below 100.",
    "perplexity_margin_ratio": "Write a number above 0 and below 900.",
}
"""The engine's ranges in the form's units."""


def _margin_field(where: str) -> str:
    return MARGIN_PREFIX + where.removeprefix("margins.")


def _rule(cleaned: dict[str, Any]) -> Rule:
    return Rule(
        alpha=_share(100 - cleaned["certainty_percent"]),
        gate_on=cleaned["gate_on"],
        pooled_margin=_share(cleaned["pooled_points"]),
        default_margin=_share(cleaned["default_points"]),
        margins={
            name.removeprefix(MARGIN_PREFIX): _share(value)
            for name, value in cleaned.items()
            if name.startswith(MARGIN_PREFIX) and value is not None
        },
        perplexity_margin_ratio=1 + _share(cleaned["perplexity_percent"]),
        anchor_factor=cleaned["anchor_factor"],
    )


def _share(hundredths: float) -> float:
    # Rounded, so that 10 points become 0.1 and not the float beside it.
    return round(hundredths / 100, 9)


def _in_hundredths(share: float) -> str:
    return f"{100 * share:.7g}"
