"""Pages of mixtures: the list, one with its totals and first examples, and the form."""

from collections.abc import Sequence

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ftportal.accounts.models import Role, User
from ftportal.accounts.roles import require_role
from ftportal.checkpoints.models import LanguageModel
from ftportal.mixtures.forms import MixtureForm, PartField, part_fields
from ftportal.mixtures.models import Mixture, PartRole
from ftportal.mixtures.selectors import (
    first_examples,
    mixture_list,
    mixture_versions,
    part_rows,
)
from ftportal.mixtures.services import MixtureError, mixture_delete, mixture_make
from ftportal.pages.lists import key_of, page_of, text_of

_SORT = {"name": "name", "created": "created_at", "batches": "batch_count", "runs": "run_count"}


@require_GET
def mixtures(request: HttpRequest) -> HttpResponse:
    """All mixtures by their newest version, filtered by text."""
    text = text_of(request, "text")
    listing = page_of(request, mixture_list(text=text), sort=_SORT, default="-created")
    return render(request, "mixtures/mixtures.html", {"listing": listing, "text": text})


@require_GET
def mixture(request: HttpRequest, pk: int) -> HttpResponse:
    """One version: its batches, what an epoch takes of them, and the other versions."""
    shown = get_object_or_404(Mixture.objects.select_related("language_model", "created_by"), pk=pk)
    rows = part_rows(shown)
    context = {
        "mixture": shown,
        "rows": rows,
        "example_count": sum(row.drawn for row in rows),
        "token_count": sum(row.tokens for row in rows),
        "decision_token_count": sum(row.decision_tokens for row in rows),
        "withdrawn": [row.part.batch for row in rows if row.part.batch.withdrawn_at],
        "versions": mixture_versions(shown),
        "runs": shown.runs.order_by("-created_at")[:20],
    }
    return render(request, "mixtures/mixture.html", context)


@require_GET
def first(request: HttpRequest, pk: int) -> HttpResponse:
    """The first examples of a mixture in their order; a fragment."""
    shown = get_object_or_404(Mixture, pk=pk)
    return render(request, "mixtures/_first.html", {"examples": first_examples(shown)})


@require_http_methods(["GET", "POST"])
def mixture_new(request: HttpRequest) -> HttpResponse:
    """Make a mixture; `?of=PK` begins with a version that is there and makes the next one."""
    user = require_role(request, Role.TRAINER)
    before = Mixture.objects.filter(pk=key_of(request.GET.get("of", "")) or 0).first()
    model = before.language_model if before else _model_of(request)
    if model is None:
        return render(request, "mixtures/mixture_new.html", {"has_model": False})
    if request.method == "GET":
        form = MixtureForm(initial=_initial(before))
        return _form_page(request, form, part_fields(model, None, before), model, before)
    form = MixtureForm(request.POST)
    rows = part_fields(model, request.POST, before)
    if form.is_valid() and not any(row.error for row in rows):
        try:
            made = _make(form, rows, model, before, user)
        except MixtureError as error:
            form.add_error(None, f"{error.message} {error.cure}")
        else:
            messages.success(request, f"{made} is there.")
            return redirect("mixtures:mixture", pk=made.pk)
    return _form_page(request, form, rows, model, before, status=422)


def _make(
    form: MixtureForm,
    rows: Sequence[PartField],
    model: LanguageModel,
    before: Mixture | None,
    user: User,
) -> Mixture:
    values = form.cleaned_data
    return mixture_make(
        name=values["name"],
        language_model=model,
        parts=[row.part for row in rows if row.part is not None],
        general_share=values["general_percent"] / 100,
        replay_share=values["replay_percent"] / 100,
        order_seed=values["order_seed"],
        note=values["note"],
        made_by=user,
        version_of=before,
    )


def _model_of(request: HttpRequest) -> LanguageModel | None:
    chosen = key_of(request.GET.get("model", ""))
    models = LanguageModel.objects.order_by("-pk")
    return models.filter(pk=chosen).first() if chosen else models.first()


def _initial(before: Mixture | None) -> dict[str, object]:
    if before is None:
        return {"general_percent": 0, "replay_percent": 0, "order_seed": 0}
    return {
        "name": before.name,
        "general_percent": f"{100 * before.general_share:g}",
        "replay_percent": f"{100 * before.replay_share:g}",
        "order_seed": before.order_seed,
    }


def _form_page(
    request: HttpRequest,
    form: MixtureForm,
    rows: Sequence[PartField],
    model: LanguageModel,
    before: Mixture | None,
    status: int = 200,
) -> HttpResponse:
    context = {
        "form": form,
        "rows": rows,
        "model": model,
        "models": LanguageModel.objects.order_by("name"),
        "before": before,
        "roles": PartRole.choices,
        "has_model": True,
    }
    return render(request, "mixtures/mixture_new.html", context, status=status)


@require_POST
def mixture_remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a version that no run used."""
    require_role(request, Role.TRAINER, Role.ADMINISTRATOR)
    shown = get_object_or_404(Mixture, pk=pk)
    try:
        mixture_delete(mixture=shown)
    except MixtureError as error:
        messages.error(request, f"{shown} was not deleted. {error.message} {error.cure}")
        return redirect("mixtures:mixture", pk=pk)
    messages.success(request, f"{shown} was deleted.")
    return redirect("mixtures:mixtures")
