"""What people type to ask for blends."""

import re

from django import forms

from ftportal.blends.services import MOST

SUGGESTED = "25, 50, 75"
"""Percent of the way: enough to see the curve of gain and loss, and three checkpoints to keep."""


class BlendForm(forms.Form):
    """How far to go from the parent, in percent; several separated by commas."""

    percents = forms.CharField(
        label="How far from the parent, in percent",
        max_length=80,
        initial=SUGGESTED,
        help_text=f"Up to {MOST} numbers between 0 and 100, separated by commas; each becomes a "
        "checkpoint.",
        error_messages={"required": f"Write percentages, such as {SUGGESTED}."},
    )

    def clean_percents(self) -> list[float]:
        """The alphas that the text means."""
        words = [word for word in re.split(r"[\s,;%]+", self.cleaned_data["percents"]) if word]
        try:
            # Rounded, so that 12.5 % is the same blend however it is written.
            alphas = [round(float(word) / 100, 6) for word in words]
        except ValueError:
            alphas = []
        if not alphas or not all(0 < alpha < 1 for alpha in alphas):
            raise forms.ValidationError(
                f"Write numbers above 0 and below 100, such as {SUGGESTED}."
            )
        return alphas
