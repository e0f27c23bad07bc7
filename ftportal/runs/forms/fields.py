"""Fields that several parts of the run form are made of."""

from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from ftportal.checkpoints.models import Checkpoint

WHOLE_MAX = 2**32 - 1


class CheckpointField(forms.ModelChoiceField):
    """Checkpoints by name, with the word that tells their stage."""

    def label_from_instance(self, obj: Checkpoint) -> str:
        """The name, and whether it is the anchor or has an alias such as champion."""
        words = ["pre-trained"] if obj.is_pretrained and "pre-trained" not in obj.name else []
        words += [alias.name for alias in obj.aliases.all()]
        return " · ".join([obj.name, *words])


def text_input(kind: str = "decimal", **attributes: str) -> forms.TextInput:
    return forms.TextInput(attrs={"inputmode": kind, "autocomplete": "off", **attributes})


def whole(label: str, minimum: int, help_text: str = "", required: bool = True) -> Any:
    wrong = f"Write a whole number of at least {minimum}."
    return forms.IntegerField(
        label=label,
        required=required,
        help_text=help_text,
        widget=text_input("numeric"),
        validators=[
            MinValueValidator(minimum, wrong),
            MaxValueValidator(WHOLE_MAX, f"Write a whole number of at most {WHOLE_MAX:,}."),
        ],
        error_messages={"invalid": wrong, "required": wrong},
    )


def number(label: str, wrong: str, help_text: str = "", required: bool = True) -> Any:
    return forms.FloatField(
        label=label,
        required=required,
        help_text=help_text,
        widget=text_input(),
        error_messages={"invalid": wrong, "required": wrong},
    )
