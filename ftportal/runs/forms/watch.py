"""What is watched while a run trains, and what stops it."""

from typing import Any

from django import forms

from ftportal.datasets.models import HeldOutSet
from ftportal.runs.forms.fields import number, whole
from ftportal.runs.forms.sections import Section


def probe_set_preselected() -> int | str:
    """The first held-out set by name; "" where there is none yet."""
    first = HeldOutSet.objects.order_by("name").first()
    return first.pk if first else ""


class WatchFields(forms.Form):
    """The section "Watching while it trains"."""

    probe_set = forms.ModelChoiceField(
        label="Text to watch",
        queryset=HeldOutSet.objects.none(),
        required=False,
        empty_label="only the batches' own held-out examples",
        help_text="Its perplexity is drawn while the run trains. The last documents are read, for "
        "a quick evaluation reads the first.",
        error_messages={"invalid_choice": "This text is gone. Choose another one."},
    )
    watch_every_steps = whole(
        "Look every so many steps",
        0,
        "0: never. Empty: 20. Looks keep to the share of time under “What it measures”, except "
        "what the brake goes by.",
        required=False,
    )
    brake_rise = number(
        "Brake at a rise of",
        "Write a number above 0, such as 0.05 for 5 %, or leave it empty.",
        "Once the perplexity of general text has risen by this share (0.05 is 5 %) over the "
        "parent's, the run ends with the weights of the look before. Empty: never. Keeps a copy "
        "of the weights in memory.",
        required=False,
    )
    watch_probe_tokens = whole(
        "Tokens of each text",
        2,
        "Empty: 512. More show smaller changes and take longer.",
        required=False,
    )
    watch_kl_tokens = whole(
        "Tokens for the divergence",
        1,
        "Empty: 128. How differently from the parent it predicts the run's own answers; takes 4 "
        "bytes of memory a token and entry of the vocabulary.",
        required=False,
    )

    WATCH = Section(
        title="Watching while it trains",
        lead="Early signs of forgetting, drawn live. The trained weights are the same without, "
        "unless the brake stops the run.",
        fields=(
            "probe_set",
            "watch_every_steps",
            "brake_rise",
            "watch_probe_tokens",
            "watch_kl_tokens",
        ),
        defaults={
            "probe_set": probe_set_preselected,
            "watch_every_steps": 20,
            "watch_probe_tokens": 512,
            "watch_kl_tokens": 128,
        },
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["probe_set"].queryset = (  # type: ignore[attr-defined]
            HeldOutSet.objects.order_by("name")
        )
