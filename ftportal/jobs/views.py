"""The list of jobs, a job's live progress, and the buttons that stop it and start it again."""

import uuid

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST
from django_htmx.middleware import HtmxDetails

from ftportal.accounts.models import User
from ftportal.jobs.models import Job
from ftportal.jobs.selectors import job_list, kind_words, may_steer
from ftportal.jobs.services import job_resume, job_stop
from ftportal.pages.lists import is_fragment, page_of, text_of

_SORT = {"title": "title", "kind": "kind", "state": "state", "created": "created_at"}


@require_GET
def jobs(request: HttpRequest) -> HttpResponse:
    """All jobs, or for HTMX the part of the page that changes."""
    kind = request.GET.get("kind", "")
    state = request.GET.get("state", "")
    text = text_of(request, "text")
    rows = job_list(kind=kind, state=state, text=text)
    listing = page_of(request, rows, sort=_SORT, default="-created")
    context = {
        "listing": listing,
        "kinds": kind_words(),
        "kind": kind,
        "state": state,
        "text": text,
        "is_filtered": bool(kind or state or text),
        "is_live": any(job.is_live for job in listing.object_list),
    }
    return render(request, "jobs/_jobs.html" if is_fragment(request) else "jobs/jobs.html", context)


@require_GET
def progress(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """The fragment that polls while the job lives; when it has ended the page loads again."""
    job = get_object_or_404(Job.objects.select_related("created_by"), pk=pk)
    return _progress(request, job)


@require_POST
def stop(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask the engine to save and stop."""
    job = _steered_job(request, pk)
    return _steered(request, job_stop(job=job))


@require_POST
def resume(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Queue a stopped or failed job again, where that may end otherwise than before."""
    job = _steered_job(request, pk)
    return _steered(request, job_resume(job=job))


def _steered_job(request: HttpRequest, pk: uuid.UUID) -> Job:
    """The job, where this person may stop it and start it again; 403 otherwise."""
    job = get_object_or_404(Job, pk=pk)
    if not isinstance(request.user, User) or not may_steer(request.user, job):
        raise PermissionDenied("This needs the role trainer, or to have asked for the job.")
    return job


def _steered(request: HttpRequest, job: Job) -> HttpResponse:
    if HtmxDetails(request):
        return _progress(request, job)
    messages.info(request, f"{job}: {job.get_state_display().lower()}.")
    back = request.META.get("HTTP_REFERER", "")
    if url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure()):
        return redirect(back)
    return redirect("jobs:jobs")


def _progress(request: HttpRequest, job: Job) -> HttpResponse:
    context = {"job": job, "hide_buttons": request.GET.get("buttons") == "no"}
    response = render(request, "jobs/_progress.html", context)
    if HtmxDetails(request) and job.is_settled:
        response["HX-Refresh"] = "true"
    return response
