"""What leaves a decided spot-check: its votes as data, and a batch of the chosen answers."""

import json
from collections.abc import Iterator

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from engine.errors import ProblemError
from ftportal.accounts.models import Role
from ftportal.accounts.roles import require_role
from ftportal.reviews import services
from ftportal.reviews.blindness import blindness_of
from ftportal.reviews.judging.exports import vote_records
from ftportal.reviews.models import SpotCheck
from ftportal.reviews.policy import policy_in_force
from ftportal.reviews.views import spot_check_of


@require_GET
def votes_jsonl(request: HttpRequest, pk: int) -> HttpResponseBase:
    """All votes of a decided spot-check, one JSON object a line; the policy names reviewers or not.

    Not for who may still judge another check of the same model: it names whose answers are whose.
    """
    spot_check = spot_check_of(pk)
    if not spot_check.is_decided:
        raise Http404
    if blindness_of(request.user).hides_answers(spot_check.candidate.language_model_id):
        raise PermissionDenied(
            "You may still judge a spot-check of this model, so whose answers are whose is kept "
            "from you."
        )
    day = timezone.localtime(spot_check.created_at)
    return StreamingHttpResponse(
        _lines(spot_check),
        content_type="application/jsonl; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="votes-{day:%Y-%m-%d-%H%M}.jsonl"'},
    )


def _lines(spot_check: SpotCheck) -> Iterator[str]:
    for one in vote_records(spot_check, by_name=policy_in_force().names_reviewers):
        yield json.dumps(one, ensure_ascii=False) + "\n"


@require_POST
def chosen_batch(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a batch of the answers that were corrected or preferred."""
    user = require_role(request, Role.TRAINER)
    try:
        batch = services.chosen_batch_make(spot_check=spot_check_of(pk), made_by=user)
    except ProblemError as refused:
        messages.error(request, str(refused))
        return redirect("reviews:spot_check", pk=pk)
    return redirect("datasets:batch", pk=batch.pk)
