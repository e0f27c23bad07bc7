"""Forms of the checkpoints app."""

from pathlib import Path
from typing import Any

from django import forms
from django.conf import settings
from django.db.models import Q

from engine.checks import ConfigError
from ftportal.accounts.models import User
from ftportal.checkpoints.models import LanguageModel
from ftportal.checkpoints.storage import model_find, model_roots
from training.config.intake import IntakeConfig

_HUB_HELP = (
    "A directory on this server, or organisation/name of a model on the Hugging Face hub, with "
    "@revision for another than main. What is not on this server yet is fetched by a worker."
)
_CACHE_HELP = (
    "A directory on this server, or organisation/name of a model in its hub cache, with @revision "
    "for another than main."
)


class ModelForm(forms.Form):
    """Register a language model that lies on this server, or on the hub where that is allowed."""

    directory: Path | None = None
    """Where the model lies; None where it is to be fetched."""
    hub_id = revision = ""

    name = forms.CharField(max_length=120, help_text="How pages call it, for example Qwen3 0.6B.")
    place = forms.CharField(
        label="Directory or hub id",
        max_length=500,
    )
    licence = forms.CharField(max_length=80, required=False, help_text="For example Apache-2.0.")
    note = forms.CharField(
        max_length=300, required=False, help_text="For example: de-quantised from 4 bit."
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["place"].help_text = _HUB_HELP if settings.FTPORTAL_HUB else _CACHE_HELP

    def clean_place(self) -> str:
        """Only what lies below an allowed root can be registered, or is fetched from the hub."""
        place: str = self.cleaned_data["place"].strip()
        directory = model_find(place)
        if directory is None and settings.FTPORTAL_HUB and self._is_on_hub(place):
            return place
        if directory is None:
            roots = ", ".join(str(root) for root in model_roots())
            raise forms.ValidationError(
                f"There is no such directory or cached model below {roots} that the portal may "
                "read. Put it there, or let FTPORTAL_MODEL_ROOTS name the directory above it. "
                "FTPORTAL_HUB=true lets workers fetch models from the hub."
            )
        self.directory = directory
        return place

    def _is_on_hub(self, place: str) -> bool:
        """Whether this is a hub id, perhaps with a revision; both are kept."""
        name, _, revision = place.partition("@")
        try:
            IntakeConfig(hub_id=name, revision=revision or None)
        except ConfigError:
            return False
        self.hub_id, self.revision = name, revision
        return True


class PeopleForm(forms.Form):
    """Who sees a language model and all that hangs on it."""

    is_restricted = forms.TypedChoiceField(
        label="Who sees it",
        choices=[("no", "Everybody with a login"), ("yes", "Only the people named here")],
        coerce=lambda value: value == "yes",
        widget=forms.RadioSelect,
    )
    people = forms.ModelMultipleChoiceField(
        queryset=User.objects.none(), widget=forms.CheckboxSelectMultiple, required=False
    )

    def __init__(self, data: Any = None, *, model: LanguageModel) -> None:
        """Administrators see everything, so they need not be named; who is named stays in view."""
        named = list(model.people.values_list("pk", flat=True))
        super().__init__(
            data, initial={"is_restricted": "yes" if model.is_restricted else "no", "people": named}
        )
        choice = Q(is_superuser=False, is_active=True) | Q(pk__in=named)
        field: Any = self.fields["people"]
        field.queryset = User.objects.filter(choice).order_by("first_name", "username")
