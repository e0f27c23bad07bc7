"""What holds a run's weights near those of its parent."""

from collections.abc import Mapping
from typing import Any

from django import forms

from ftportal.runs.defences import EWC_VARIANT_NAMES
from ftportal.runs.forms.fields import number, whole
from ftportal.runs.forms.sections import Section

_STRENGTH = "Write a number above 0, or leave it empty."


class DefenceFields(forms.Form):
    """The section "Defences against forgetting"."""

    l2_strength = number(
        "Pull toward the parent (L2)",
        _STRENGTH,
        "Every weight is pulled back alike, the harder the farther it has moved. Empty: off. Keeps "
        "a copy of the weights in memory (none with LoRA).",
        required=False,
    )
    ewc_strength = number(
        "Pull by importance (EWC)",
        _STRENGTH,
        "Elastic weight consolidation: pulls back the weights that general examples depend on. At "
        "1, forgetting those counts as much as learning the batch. Empty: off. Needs a general "
        "batch.",
        required=False,
    )
    ewc_variant = forms.ChoiceField(
        label="EWC's importance of",
        choices=list(EWC_VARIANT_NAMES.items()),
        required=False,
        help_text="Each weight takes memory like a second copy of the weights; a row nearly none.",
    )
    ewc_examples = whole(
        "General examples for EWC",
        1,
        "32 where this is empty. They are gone through once before the first step.",
        required=False,
    )

    mask_below_probability = number(
        "Leave out tokens below probability",
        "Write a number above 0 and at most 1, such as 0.001, or leave it empty.",
        "Tokens that the parent finds less likely than this, such as 0.001, are read but not "
        "learnt: they pull hardest at the weights. Empty: all are learnt. Takes a look at every "
        "example before the first step.",
        required=False,
    )

    DEFENCES = Section(
        title="Defences against forgetting",
        lead="Beside a mixture with general examples, a low rate and few steps: what pulls the "
        "weights back toward the parent's while they learn, and what is not learnt at all.",
        fields=(
            "l2_strength",
            "ewc_strength",
            "ewc_variant",
            "ewc_examples",
            "mask_below_probability",
        ),
        defaults={"ewc_variant": "row"},
    )

    @staticmethod
    def defences_of(values: Mapping[str, Any]) -> dict[str, Any]:
        """The values without the variant of an EWC that is off, for a list cannot be left empty."""
        off = values.get("ewc_strength") is None
        return {**values, "ewc_variant": None} if off else dict(values)
