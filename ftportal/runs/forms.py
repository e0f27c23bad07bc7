"""The form that starts a run: recipe fields, and the mixture's rows with their weights."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import champion, checkpoints_available
from ftportal.datasets.models import Batch
from ftportal.datasets.selectors import batches_ready
from ftportal.runs.recipes import (
    IMPLEMENTATION_NAMES,
    METHOD_NAMES,
    SCHEDULE_NAMES,
    Problem,
    example_count,
)
from training.config import APOLLO_METHODS, DTYPES

BATCHES_SHOWN = 40
WHOLE_MAX = 2**32 - 1
WEIGHT_MAX = 1e6
METHOD_HELP = {
    "apollo": "Trains every weight with little memory; rank 256.",
    "apollo_mini": "APOLLO with rank 1: the least memory.",
    "lora": "Trains a small adapter and merges it: forgets less, learns less.",
    "adamw": "Trains every weight; three times the memory of APOLLO.",
}


class CheckpointField(forms.ModelChoiceField):
    """Checkpoints by name, with the word that tells their stage."""

    def label_from_instance(self, obj: Checkpoint) -> str:
        """The name, and whether it is the anchor or has an alias such as champion."""
        words = ["pre-trained"] if obj.is_pretrained and "pre-trained" not in obj.name else []
        words += [alias.name for alias in obj.aliases.all()]
        return " · ".join([obj.name, *words])


def _text(kind: str = "decimal", **attributes: str) -> forms.TextInput:
    return forms.TextInput(attrs={"inputmode": kind, "autocomplete": "off", **attributes})


def _whole(label: str, minimum: int, help_text: str = "", required: bool = True) -> Any:
    wrong = f"Write a whole number of at least {minimum}."
    return forms.IntegerField(
        label=label,
        required=required,
        help_text=help_text,
        widget=_text("numeric"),
        validators=[
            MinValueValidator(minimum, wrong),
            MaxValueValidator(WHOLE_MAX, f"Write a whole number of at most {WHOLE_MAX:,}."),
        ],
        error_messages={"invalid": wrong, "required": wrong},
    )


def _number(label: str, wrong: str, help_text: str = "", required: bool = True) -> Any:
    return forms.FloatField(
        label=label,
        required=required,
        help_text=help_text,
        widget=_text(),
        error_messages={"invalid": wrong, "required": wrong},
    )


class RunForm(forms.Form):
    """A run's name, parent and recipe; numbers are text fields, so that 1e-5 can be written."""

    name = forms.CharField(
        label="Name",
        max_length=120,
        help_text="The checkpoint gets this name too.",
        error_messages={"required": "Give the run a name."},
    )
    parent = CheckpointField(
        label="Start from",
        queryset=Checkpoint.objects.none(),
        empty_label=None,
        error_messages={
            "required": "Choose a checkpoint to start from.",
            "invalid_choice": "This checkpoint was deleted or never was. Choose another one.",
        },
    )
    method = forms.ChoiceField(
        label="Method", choices=list(METHOD_NAMES.items()), widget=forms.RadioSelect
    )
    learning_rate = _number(
        "Learning rate", "Write a number above 0, such as 1e-5.", "1e-5 is the careful start."
    )
    epochs = _whole("Epochs", 1, "How often the run sees as many examples as the batches have.")
    examples_per_step = _whole("Examples per step", 1)
    seed = _whole("Seed", 0, "The same seed and recipe give the same run.")
    context_frozen = forms.BooleanField(
        label="Freeze the context",
        required=False,
        help_text="Only decision tokens get gradient; context runs forward once and is kept.",
    )
    rank = _whole("Rank", 1, "APOLLO 256 and LoRA 16 where this is empty.", required=False)
    max_steps = _whole("Steps at most", 1, "Empty: as many as the epochs need.", required=False)
    schedule = forms.ChoiceField(label="Schedule", choices=list(SCHEDULE_NAMES.items()))
    warmup_steps = _whole("Warm-up steps", 0, "The rate rises from 0 over these.")
    weight_decay = _number("Weight decay", "Write a number from 0 to 1.")
    max_gradient_norm = _number(
        "Clip gradients at norm",
        "Write a number above 0, or leave it empty.",
        "Empty: never.",
        required=False,
    )
    max_example_tokens = _whole("Longest example, tokens", 8, "Longer ones are left out.")
    dtype = forms.ChoiceField(
        label="Precision",
        choices=[(name, name) for name in DTYPES],
        help_text="Of weights, gradients and optimizer state.",
    )
    implementation = forms.ChoiceField(
        label="APOLLO by",
        choices=list(IMPLEMENTATION_NAMES.items()),
        required=False,
        help_text="ftportal's own, or the authors' package to compare with.",
    )

    MORE = (
        "rank",
        "max_steps",
        "schedule",
        "warmup_steps",
        "weight_decay",
        "max_gradient_norm",
        "max_example_tokens",
        "dtype",
        "implementation",
    )
    """Fields under "More settings"."""
    DEFAULTS: Mapping[str, Any] = {
        "method": "apollo",
        "learning_rate": "1e-5",
        "epochs": 1,
        "examples_per_step": 1,
        "seed": 0,
        "context_frozen": True,
        "schedule": "constant",
        "warmup_steps": 0,
        "weight_decay": "0",
        "max_gradient_norm": "1",
        "max_example_tokens": 4096,
        "dtype": "float32",
        "implementation": "ftportal",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["parent"].queryset = (  # type: ignore[attr-defined]
            checkpoints_available().prefetch_related("aliases")
        )
        rate, decay = self.fields["learning_rate"], self.fields["weight_decay"]
        rate.validators += [
            MinValueValidator(5e-324, "Write a number above 0, such as 1e-5."),
            MaxValueValidator(1.0, "Write a number of at most 1; 1e-5 is a careful start."),
        ]
        wrong = "Write a number from 0 to 1."
        decay.validators += [MinValueValidator(0.0, wrong), MaxValueValidator(1.0, wrong)]

    def recipe(self) -> dict[str, Any]:
        """The cleaned values as fields of training.config.RunConfig."""
        values = dict(self.cleaned_data)
        method = {"name": values.pop("method")}
        rank, implementation = values.pop("rank"), values.pop("implementation")
        if rank is not None:
            method["rank"] = rank
        if implementation and method["name"] in APOLLO_METHODS:
            method["implementation"] = implementation
        for field in ("name", "parent"):
            del values[field]
        return {**values, "method": method}

    @property
    def is_non_commercial(self) -> bool:
        """Whether the run would use apollo-torch, whose licence is CC-BY-NC 4.0."""
        chosen = self.cleaned_data.get
        return chosen("method") in APOLLO_METHODS and chosen("implementation") == "apollo-torch"

    def problems_add(self, problems: Iterable[Problem]) -> list[Problem]:
        """Put a refusal's problems beside their fields; returns those without one."""
        rest = []
        for problem in problems:
            if problem.field in self.fields:
                self.add_error(problem.field, str(problem))
            else:
                rest.append(problem)
        return rest

    @property
    def more_is_open(self) -> bool:
        """Whether "More settings" must not hide something: an error or an unusual value."""
        if any(name in self.errors for name in self.MORE):
            return True
        usual = {name: str(self.DEFAULTS.get(name, "")) for name in self.MORE}
        return any(str(self[name].value() or "") not in (usual[name], "") for name in self.MORE)


def initial_values(query: Mapping[str, str], name: str) -> dict[str, Any]:
    """What the form begins with: defaults, then whatever the address asks for."""
    initial: dict[str, Any] = {"name": name, **RunForm.DEFAULTS}
    for field in RunForm.base_fields:
        if field in query and field != "context_frozen":
            initial[field] = query[field]
    if "context_frozen" in query:
        initial["context_frozen"] = query["context_frozen"].lower() in ("true", "on", "1", "yes")
    if not initial.get("parent"):
        parent = parent_preselected()
        initial["parent"] = parent.pk if parent else None
    return initial


def parent_preselected() -> Checkpoint | None:
    """The champion of the model that was taught last; its pre-trained checkpoint without one."""
    newest = checkpoints_available().order_by("-created_at", "-pk").first()
    if newest is None:
        return None
    chosen = champion(newest.language_model)
    return chosen if chosen.deleted_at is None else newest


@dataclass(frozen=True, kw_only=True)
class MixtureRow:
    """One batch that a run could use, with what was typed as its weight."""

    batch: Batch
    text: str
    weight: float = 0.0
    error: str = ""

    @property
    def field(self) -> str:
        """The name of its weight in the form."""
        return f"weight_{self.batch.pk}"

    @property
    def example_count(self) -> int:
        """Examples that a run may learn."""
        return example_count(self.batch)


def mixture_rows(parent: Checkpoint | None, data: Mapping[str, str]) -> list[MixtureRow]:
    """The newest ready batches of the parent's model and all that `data` gives a weight.

    `data` has weight_<batch> fields; a plain `batch` field means weight 1.
    """
    if parent is None:
        return []
    batches = list(batches_ready(parent.language_model))
    wanted = data.getlist("batch") if hasattr(data, "getlist") else []
    rows = []
    for number, batch in enumerate(batches):
        text = data.get(f"weight_{batch.pk}", "1" if str(batch.pk) in wanted else "").strip()
        if number < BATCHES_SHOWN or text:
            weight, error = _weight(text)
            rows.append(MixtureRow(batch=batch, text=text, weight=weight, error=error))
    return rows


def _weight(text: str) -> tuple[float, str]:
    if not text:
        return 0.0, ""
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= WEIGHT_MAX:  # NaN is not
        return 0.0, "Write a number such as 1 or 0.25; 0 leaves the batch out."
    return weight, ""
