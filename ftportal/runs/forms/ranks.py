"""How many processes share a run."""

from django import forms
from django.core.exceptions import ValidationError

from ftportal.pages.lists import whole_of
from ftportal.runs.forms.fields import WHOLE_MAX, text_input
from ftportal.runs.forms.sections import Section
from ftportal.runs.recipes import SHARDING_NAMES
from training.config import AUTO


class RanksFields(forms.Form):
    """The section "Several GPUs"."""

    processes = forms.CharField(
        label="Processes, one for each GPU",
        required=False,
        widget=text_input("text"),
        help_text="They share the examples of every step, so give a step at least as many "
        "examples. auto: as many as the machine that does the run has GPUs. Without GPUs they "
        "share its cores, which is no faster. Empty: 1.",
    )
    sharding = forms.ChoiceField(
        label="Each of them holds",
        choices=list(SHARDING_NAMES.items()),
        required=False,
        help_text="A part is for models that do not fit on one GPU; it sends more between them. "
        "Then no process ever has the whole model, in main memory neither.",
    )

    RANKS = Section(
        title="Several GPUs",
        lead="The trained weights are the same, but for rounding, as with one process.",
        fields=("processes", "sharding"),
        defaults={"processes": "1", "sharding": "none"},
    )

    def clean_processes(self) -> int | str | None:
        """A whole number, or auto; None leaves it to the default."""
        text = self.cleaned_data["processes"].strip().lower()
        if text in ("", AUTO):
            return text or None
        count = whole_of(text)
        if count is not None and 0 < count <= WHOLE_MAX:
            return count
        raise ValidationError(f"Write a whole number of at least 1, or {AUTO}.")
