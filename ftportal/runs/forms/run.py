"""The form that starts a run: its name, its parent and its recipe."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import champion, checkpoints_available
from ftportal.runs.forms.context import ContextFields
from ftportal.runs.forms.defences import DefenceFields
from ftportal.runs.forms.diagnostics import DiagnosticsFields
from ftportal.runs.forms.fields import CheckpointField, number, whole
from ftportal.runs.forms.more import MoreFields
from ftportal.runs.forms.ranks import RanksFields
from ftportal.runs.forms.sections import BoundSection, Section, section_bind
from ftportal.runs.forms.watch import WatchFields
from ftportal.runs.recipes import Problem, recipe_nest
from training.config import MethodConfig
from training.methods import METHODS

_YES = ("true", "on", "1", "yes")


def method_choices() -> list[tuple[str, str]]:
    """Every method's key and name."""
    return [(key, method.name) for key, method in METHODS.items()]


class RunForm(
    ContextFields, DefenceFields, WatchFields, MoreFields, RanksFields, DiagnosticsFields
):
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
    method = forms.ChoiceField(label="Method", choices=method_choices, widget=forms.RadioSelect)
    learning_rate = number(
        "Learning rate", "Write a number above 0, such as 1e-5.", "1e-5 is the careful start."
    )
    epochs = whole("Epochs", 1, "How often the run sees as many examples as the batches have.")
    examples_per_step = whole("Examples per step", 1)
    seed = whole("Seed", 0, "The same seed and recipe give the same run.")
    context_frozen = forms.BooleanField(
        label="Freeze the context",
        required=False,
        help_text="Only decision tokens get gradient; context runs forward once and is kept.",
    )
    SECTIONS: Sequence[Section] = (
        ContextFields.CONTEXT,
        DefenceFields.DEFENCES,
        WatchFields.WATCH,
        MoreFields.MORE,
        RanksFields.RANKS,
        DiagnosticsFields.MEASURES,
    )
    """The folded parts, in the order in which they are shown."""
    DEFAULTS: Mapping[str, Any] = {
        "method": MethodConfig.name,
        "learning_rate": "1e-5",
        "epochs": 1,
        "examples_per_step": 1,
        "seed": 0,
        "context_frozen": True,
    }
    """Of the fields that are always in sight."""

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
        values = {
            name: value
            for name, value in self.cleaned_data.items()
            if name not in ("name", "parent", "probe_set")
        }
        for name in ("implementation", "base_bits"):  # lists, which are hidden or never empty
            if name not in METHODS[values["method"]].settings:
                values[name] = None
        return recipe_nest(self.defences_of(values))

    @property
    def is_non_commercial(self) -> bool:
        """Whether the run would use apollo-torch, whose licence is CC-BY-NC 4.0."""
        method = METHODS.get(self.cleaned_data.get("method", ""))
        chosen = self.cleaned_data.get("implementation")
        return method is not None and method.is_non_commercial(chosen)

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
    def sections(self) -> list[BoundSection]:
        """The folded parts with this form's fields."""
        return [section_bind(section, self) for section in self.SECTIONS]


def initial_values(query: Mapping[str, str], name: str) -> dict[str, Any]:
    """What the form begins with: defaults, then whatever the address asks for."""
    initial: dict[str, Any] = {"name": name, **RunForm.DEFAULTS}
    for section in RunForm.SECTIONS:
        initial |= section.defaults
    for name_of, field in RunForm.base_fields.items():
        if name_of in query:
            is_box = isinstance(field, forms.BooleanField)
            initial[name_of] = query[name_of].lower() in _YES if is_box else query[name_of]
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
