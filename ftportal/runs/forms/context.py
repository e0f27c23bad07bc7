"""How a run walks through its conversations."""

from django import forms

from ftportal.runs.forms.fields import whole
from ftportal.runs.forms.sections import Section


class ContextFields(forms.Form):
    """The section "Context"."""

    grad_window = whole(
        "Gradient window, tokens",
        0,
        "So many tokens of context before each decision get gradient too; the rest stays frozen. "
        "What it costs, with N weights, W tokens of window and D of decision: 6N(W + D) operations "
        "for each decision in place of 2NW + 6ND, three times as much for every token of the "
        "window. 0: none.",
        required=False,
    )
    conversations_at_once = whole(
        "Conversations at once",
        1,
        "Of a step's examples, so many are walked through side by side where their lengths are "
        "alike: faster the shorter they are, with the same result, and more memory. Empty: up to "
        "4, long ones alone.",
        required=False,
    )

    CONTEXT = Section(
        title="Context",
        lead="What stands before a decision: it is read so that the decision can be understood.",
        fields=("grad_window", "conversations_at_once"),
        defaults={"grad_window": 0},
    )
