"""The page that starts a run, and what it says about the run while it is filled in."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from engine.checks import ConfigError
from ftportal.accounts.models import Role
from ftportal.accounts.roles import require_role
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import checkpoints_available
from ftportal.mixtures.models import Mixture as NamedMixture
from ftportal.mixtures.selectors import is_mixture
from ftportal.pages.lists import key_of, whole_of
from ftportal.runs.forms import (
    MixtureRow,
    RunForm,
    initial_values,
    mixture_data,
    mixture_rows,
)
from ftportal.runs.models import Run
from ftportal.runs.planning import plan
from ftportal.runs.recipes import Mixture, Problem, recipe_problem
from ftportal.runs.services import RunRefusedError, mixture_problems, name_free, run_submit
from ftportal.runs.suggestions import general_suggest, replay_suggest
from training.methods import METHODS


@require_http_methods(["GET", "POST"])
def run_new(request: HttpRequest) -> HttpResponse:
    """The form; a valid one starts the run and leads to its page."""
    user = require_role(request, Role.TRAINER)
    if request.method == "GET":
        data = mixture_data(_named(request), request.GET)
        initial = initial_values(data, name_free(f"Session {Run.objects.count() + 1}"))
        form = RunForm(initial=initial)
        return _page(request, form, mixture_rows(_parent_of(initial["parent"]), data), [])
    form = RunForm(request.POST)
    rows = mixture_rows(_parent_of(request.POST.get("parent")), request.POST)
    problems: list[Problem] = []
    if form.is_valid() and not any(row.error for row in rows):
        try:
            run = run_submit(
                submitter=user,
                name=form.cleaned_data["name"],
                parent=form.cleaned_data["parent"],
                mixture=_mixture(rows),
                recipe=form.recipe(),
                probe_set=form.cleaned_data["probe_set"],
                from_mixture=_named(request),
            )
        except RunRefusedError as error:
            problems = form.problems_add(error.problems)
        else:
            messages.success(request, f"{run} waits for a worker.")
            return redirect("runs:run", pk=run.pk)
    return _page(request, form, rows, problems, status=422)


def _page(
    request: HttpRequest,
    form: RunForm,
    rows: Sequence[MixtureRow],
    problems: Sequence[Problem],
    status: int = 200,
) -> HttpResponse:
    context = {
        "form": form,
        "rows": rows,
        "shares": _shares(rows),
        "problems": problems,
        "named": _named(request),
        "method_help": {key: method.help for key, method in METHODS.items()},
        "has_parents": checkpoints_available().exists(),
    }
    return render(request, "runs/run_new.html", context, status=status)


@require_POST
def run_preview(request: HttpRequest) -> HttpResponse:
    """What the run would do, from the fields as they stand; nothing is kept."""
    require_role(request, Role.TRAINER)
    form = RunForm(request.POST)
    parent = _parent_of(request.POST.get("parent"))
    rows = mixture_rows(parent, request.POST)
    context: dict[str, Any] = {"rows": rows, "problems": [], "plan": None}
    context["rows_changed"] = _rows_key(rows) != request.POST.get("rows_shown", "")
    mixture = _mixture(rows)
    context["shares"] = _shares(rows)
    named = _named(request)
    if named is not None and not _follows(named, rows, request.POST.get("seed", "")):
        context["left_mixture"] = named
    if parent is not None and not mixture and not any(row.error for row in rows):
        context["nothing_chosen"] = True
    elif parent is not None and _only_name_is_wrong(form) and not any(row.error for row in rows):
        problems = mixture_problems(parent, mixture)
        context |= {"problems": problems} if problems else _planned(parent, mixture, form)
    else:
        context["wrong"] = _wrong_fields(form, rows)
    return render(request, "runs/_preview.html", context)


@require_POST
def run_mixture(request: HttpRequest) -> HttpResponse:
    """The mixture with general examples or a replay added; the rest of the form stays as it is."""
    require_role(request, Role.TRAINER)
    parent = _parent_of(request.POST.get("parent"))
    data = request.POST.copy()
    note = "Choose a checkpoint to start from first."
    if parent is not None:
        weights = {row.batch.pk: row.weight for row in mixture_rows(parent, data)}
        suggest = replay_suggest if request.POST.get("add") == "replay" else general_suggest
        suggestion = suggest(parent, weights)
        note = suggestion.message
        for key, weight in suggestion.weights.items():
            data[f"weight_{key}"] = f"{weight:.4g}"
    rows = mixture_rows(parent, data)
    context = {"rows": rows, "shares": _shares(rows), "note": note, "named": _named(request)}
    response = render(request, "runs/_mixture.html", context)
    response["HX-Trigger-After-Settle"] = "mixture-changed"
    return response


def _named(request: HttpRequest) -> NamedMixture | None:
    """The named mixture that the form began with."""
    key = key_of(request.POST.get("mixture", "") or request.GET.get("mixture", ""))
    return NamedMixture.objects.filter(pk=key).first() if key else None


def _follows(named: NamedMixture, rows: Sequence[MixtureRow], seed: str) -> bool:
    """Whether the form still says what the named mixture says."""
    weights = {row.batch.pk: row.weight for row in rows if row.weight > 0}
    chosen = whole_of(seed)
    return chosen is not None and is_mixture(named, weights, chosen)


def _only_name_is_wrong(form: RunForm) -> bool:
    """Whether the recipe can be planned: the name has nothing to do with that."""
    form.is_valid()
    form.cleaned_data.setdefault("name", "")
    return set(form.errors) <= {"name"}


def _wrong_fields(form: RunForm, rows: Sequence[MixtureRow]) -> list[tuple[str, str]]:
    """The fields that cannot be read, by label, each with what to write instead."""
    fields = [
        (str(form[name].label), " ".join(map(str, messages_of)))
        for name, messages_of in form.errors.items()
        if name != "name"
    ]
    return fields + [(f"Weight of {row.batch}", row.error) for row in rows if row.error]


def _planned(parent: Checkpoint, mixture: Mixture, form: RunForm) -> dict[str, Any]:
    try:
        planned = plan(
            parent=parent,
            mixture=mixture,
            recipe=form.recipe(),
            probe_set=form.cleaned_data["probe_set"],
        )
        return {"plan": planned, "non_commercial": form.is_non_commercial}
    except ConfigError as error:
        return {"problems": [recipe_problem(error)]}
    except (ValueError, OSError) as error:
        message = f"The weights of {parent} cannot be read: {error}."
        cure = "Choose another checkpoint."
        return {"problems": [Problem(field="parent", message=message, cure=cure)]}


def _parent_of(value: Any) -> Checkpoint | None:
    """The checkpoint that a field or an address names; None where there is none."""
    key = key_of(str(value or ""))
    return None if key is None else checkpoints_available().filter(pk=key).first()


def _mixture(rows: Sequence[MixtureRow]) -> list[tuple[Any, float]]:
    return [(row.batch, row.weight) for row in rows if row.weight > 0]


def _shares(rows: Sequence[MixtureRow]) -> dict[int, float]:
    """Batch -> its share of the examples; empty while nothing is chosen."""
    total = sum(row.weight for row in rows)
    return {row.batch.pk: row.weight / total for row in rows} if total else {}


def _rows_key(rows: Sequence[MixtureRow]) -> str:
    return ",".join(str(row.batch.pk) for row in rows)
