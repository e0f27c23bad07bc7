"""A checkpoint's files, read again: how they stand, and the button that has them read."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from ftportal.accounts.models import Role
from ftportal.accounts.roles import require_role
from ftportal.checkpoints.models import Checkpoint
from ftportal.promotions.reread_selectors import reading_of
from ftportal.promotions.services import PromotionRefusedError, reread_request


@require_GET
def panel(request: HttpRequest, pk: int) -> HttpResponse:
    """For the checkpoint's page: when its files were read again, and what was found."""
    checkpoint = get_object_or_404(Checkpoint.objects.select_related("language_model"), pk=pk)
    context = {"checkpoint": checkpoint, "reading": reading_of(checkpoint)}
    return render(request, "promotions/_reread_panel.html", context)


@require_POST
def reread(request: HttpRequest, pk: int) -> HttpResponse:
    """Have a checkpoint's files read again now."""
    user = require_role(request, Role.ADMINISTRATOR)
    checkpoint = get_object_or_404(Checkpoint.objects.select_related("language_model"), pk=pk)
    try:
        reread_request(checkpoint=checkpoint, asked_by=user)
    except PromotionRefusedError as refused:
        messages.error(request, str(refused))
    return redirect(reverse("checkpoints:checkpoint", args=[pk]) + "#files")
