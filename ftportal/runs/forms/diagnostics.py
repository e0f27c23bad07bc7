"""Settings of what a run measures of itself."""

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from ftportal.runs.forms.fields import number
from ftportal.runs.forms.sections import Section

_SHARE_WRONG = "Write a number above 0 and at most 1, such as 0.05."


class DiagnosticsFields(forms.Form):
    """The section "What it measures"."""

    gradient_sparsity = forms.BooleanField(
        label="Gradient sparsity",
        required=False,
        help_text="How much of the gradient is nearly nothing.",
    )
    gradient_cosine = forms.BooleanField(
        label="Frozen against full gradient",
        required=False,
        help_text="How far what is learnt with a frozen context points where it would with all of "
        "the gradient. Left out where once would take more than its share of the session.",
    )
    change_rank = forms.BooleanField(
        label="Rank of the change",
        required=False,
        help_text="In how many directions each matrix was changed.",
    )
    sharpness = forms.BooleanField(
        label="Sharpness along the steps",
        required=False,
        help_text="How steeply the loss bends where the run walks. In float32 only; holds one copy "
        "of all that learns.",
    )
    diagnostics_share = number(
        "Share of the time, at most",
        _SHARE_WRONG,
        "For each of them. What takes longer is measured less often. Empty: 0.05.",
        required=False,
    )

    MEASURES = Section(
        title="What it measures",
        lead="Beside the loss. The trained weights are the same without.",
        fields=(
            "gradient_sparsity",
            "gradient_cosine",
            "change_rank",
            "sharpness",
            "diagnostics_share",
        ),
        defaults={
            "gradient_sparsity": True,
            "gradient_cosine": True,
            "change_rank": True,
            "sharpness": True,
            "diagnostics_share": "0.05",
        },
    )

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["diagnostics_share"].validators += [
            MinValueValidator(1e-6, _SHARE_WRONG),
            MaxValueValidator(1.0, _SHARE_WRONG),
        ]
