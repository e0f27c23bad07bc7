"""The page on which an administrator says how a model is asked."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from corpus.confined import ConfinedError, template_arguments_of
from ftportal.accounts.models import Role
from ftportal.accounts.roles import require_role
from ftportal.checkpoints.asking.forms import AskingForm
from ftportal.checkpoints.asking.services import model_asking_set
from ftportal.checkpoints.models import LanguageModel
from ftportal.checkpoints.services import CheckpointError


@require_http_methods(["GET", "POST"])
def model_asking(request: HttpRequest, pk: int) -> HttpResponse:
    """What a model's chat template is given, and how long its answers may be."""
    require_role(request, Role.ADMINISTRATOR)
    model = get_object_or_404(LanguageModel, pk=pk)
    form = AskingForm(request.POST if request.method == "POST" else None, model=model)
    if form.is_valid():
        try:
            changed = model_asking_set(language_model=model, **form.cleaned_data)
        except CheckpointError as error:
            form.add_error("template_arguments", str(error))
        else:
            messages.success(request, f"{changed} is asked so from now on.")
            return redirect("checkpoints:checkpoint", pk=changed.pretrained.pk)
    context = {"model": model, "form": form, "known": _known(model)}
    status = 422 if form.errors else 200
    return render(request, "checkpoints/model_asking.html", context, status=status)


def _known(model: LanguageModel) -> list[str] | None:
    """What its template can be given; None where the template cannot be asked."""
    try:
        return template_arguments_of(model.pretrained.directory)
    except ConfinedError:
        return None
