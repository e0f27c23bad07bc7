"""Answers to what a batch asks, new versions of it, and what can be downloaded of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from corpus.formats import LeftOutError, Reading, record_parse
from corpus.formats.mapping import TARGETS, ColumnMapping
from corpus.jsontext import ExampleError
from corpus.reasoning import CHOICES
from engine.errors import ProblemError
from engine.seals import SealError, seals_check
from ftportal.accounts.models import Role
from ftportal.accounts.roles import require_role
from ftportal.datasets.models import DECISION_RULES, Batch
from ftportal.datasets.questions import contaminated_of, questions_of
from ftportal.datasets.seals import batch_seals
from ftportal.datasets.selectors import columns_remembered
from ftportal.datasets.services import (
    batch_answer,
    batch_describe,
    batch_good_only,
    batch_version,
    batch_withdraw,
)
from ftportal.pages.csvs import csv_line

_COLUMN = "column:"
"""Before a column's name in the form that maps it."""
_GUESSES = {
    "user": ("question", "prompt", "input", "instruction", "query", "user", "human", "problem"),
    "assistant": ("answer", "response", "output", "completion", "assistant", "solution", "target"),
    "system": ("system", "context", "system_prompt"),
    "reasoning": ("reasoning", "thinking", "thoughts", "rationale", "cot"),
    "outcome": ("score", "reward", "success", "correct", "rating"),
    "mark": ("train", "weight"),
}


@dataclass(frozen=True, kw_only=True)
class ColumnRow:
    """One column of a file of no known format."""

    name: str
    sample: str
    target: str


@dataclass(frozen=True, kw_only=True)
class ColumnsForm:
    """The form that says which column is what."""

    rows: list[ColumnRow]
    targets: Mapping[str, str]
    is_remembered: bool


def columns_form(batch: Batch) -> ColumnsForm:
    """The columns of a batch with what they were said to be before, or what they may be."""
    columns = batch.report.get("unknown_columns", {})
    samples = (batch.report.get("unknown_rows") or [{}])[0]
    remembered = columns_remembered(columns)
    rows = [
        ColumnRow(
            name=name, sample=samples.get(name, ""), target=remembered.get(name, _guess(name))
        )
        for name in columns
    ]
    return ColumnsForm(rows=rows, targets=TARGETS, is_remembered=bool(remembered))


def _guess(column: str) -> str:
    name = column.lower()
    return next((target for target, names in _GUESSES.items() if name in names), "aside")


def _columns_of(request: HttpRequest) -> dict[str, str]:
    return {
        name.removeprefix(_COLUMN): target
        for name, target in request.POST.items()
        if name.startswith(_COLUMN) and isinstance(target, str)
    }


@require_POST
def columns_preview(request: HttpRequest, pk: int) -> HttpResponse:
    """Three examples as a mapping would read them; a fragment."""
    require_role(request, Role.TRAINER)
    batch = get_object_or_404(Batch, pk=pk)
    examples: list[Any] = []
    problem = ""
    try:
        mapping = ColumnMapping.from_json(_columns_of(request))
        for row in batch.report.get("unknown_rows", []):
            examples.append(_read(row, Reading(columns=mapping)))
    except ValueError as error:
        problem = str(error)
    context = {"examples": examples, "problem": problem}
    return render(request, "datasets/_columns_preview.html", context)


def _read(row: Any, reading: Reading) -> dict[str, Any]:
    try:
        return {"turns": record_parse(row, reading).example.turns}
    except ExampleError as error:
        return {"problem": f"{error.message}. {error.cure}"}
    except LeftOutError as error:
        return {"problem": f"left out: {error}"}


@require_POST
def answer(request: HttpRequest, pk: int) -> HttpResponse:
    """Take the answers to what a batch asks."""
    keeps = request.POST.get("contamination") == "keep"
    require_role(request, *((Role.RELEASER, Role.ADMINISTRATOR) if keeps else (Role.TRAINER,)))
    batch = get_object_or_404(Batch, pk=pk)
    if keeps:
        reason = request.POST.get("reason", "").strip()[:300]
        return _answered(request, batch, options={"contaminated_kept": reason})
    options: dict[str, Any] = {}
    if columns := _columns_of(request):
        options["columns"] = columns
    if request.POST.get("preference"):
        options["preference"] = request.POST["preference"]
    if request.POST.get("contamination") == "leave_out":
        options["leave_out"] = batch.options.get("leave_out", {}) | contaminated_of(batch)
    keys = request.POST.getlist("accepted")
    if request.POST.get("accept_all"):
        keys = [one.key for one in questions_of(batch)]
    return _answered(
        request,
        batch,
        accepted=keys,
        options=options,
        decision_rule=_choice(request, "decision_rule", dict(DECISION_RULES)),
        reasoning=_choice(request, "reasoning", CHOICES),
    )


def _answered(request: HttpRequest, batch: Batch, **answers: Any) -> HttpResponse:
    try:
        batch_answer(batch=batch, **answers)
    except ProblemError as error:
        messages.error(request, f"{error.message} {error.cure}")
    return redirect("datasets:batch", pk=batch.pk)


def _choice(request: HttpRequest, name: str, known: Mapping[str, str]) -> str:
    value = request.POST.get(name, "")
    return value if value in known else ""


@require_POST
def import_good(request: HttpRequest, pk: int) -> HttpResponse:
    """Import the good lines of a refused batch."""
    require_role(request, Role.TRAINER)
    try:
        batch_good_only(batch=get_object_or_404(Batch, pk=pk))
    except ProblemError as error:
        messages.error(request, f"{error.message} {error.cure}")
    return redirect("datasets:batch", pk=pk)


@require_POST
def describe(request: HttpRequest, pk: int) -> HttpResponse:
    """Name a batch and write down its origin, consent and tags."""
    require_role(request, Role.TRAINER)
    fields = {
        name: request.POST.get(name, "") for name in ("name", "origin", "consent", "tags", "note")
    }
    try:
        batch_describe(batch=get_object_or_404(Batch, pk=pk), **fields)
    except ProblemError as error:
        messages.error(request, f"{error.message} {error.cure}")
    return redirect("datasets:batch", pk=pk)


@require_POST
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a batch back, with a reason."""
    require_role(request, Role.TRAINER, Role.ADMINISTRATOR)
    try:
        batch_withdraw(batch=get_object_or_404(Batch, pk=pk), reason=request.POST.get("reason", ""))
    except ProblemError as error:
        messages.error(request, f"{error.message} {error.cure}")
    return redirect("datasets:batch", pk=pk)


@require_POST
def version_new(request: HttpRequest, pk: int) -> HttpResponse:
    """Read a batch's file again by other choices, as a new version."""
    user = require_role(request, Role.TRAINER)
    batch = get_object_or_404(Batch, pk=pk)
    options: dict[str, Any] = {}
    name, least = request.POST.get("outcome", ""), request.POST.get("least", "")
    try:
        if name and least:
            options["outcome_least"] = {name: float(least)}
        if request.POST.get("redact"):
            options["redact"] = True
        if sha256 := request.POST.get("leave_out", ""):
            known = batch.options.get("leave_out", {})
            options["leave_out"] = {**known, sha256: request.POST.get("reason", "")[:100]}
        made = batch_version(
            batch=batch,
            made_by=user,
            reason=request.POST.get("reason", ""),
            options=options,
            decision_rule=_choice(request, "decision_rule", dict(DECISION_RULES)),
            reasoning=_choice(request, "reasoning", CHOICES),
        )
    except ValueError:
        messages.error(request, f"The least {name} is not a number. Write one, such as 1.")
        return redirect("datasets:batch", pk=pk)
    except ProblemError as error:
        messages.error(request, f"{error.message} {error.cure}")
        return redirect("datasets:batch", pk=pk)
    return redirect("datasets:batch", pk=made.pk)


@require_GET
def problems_csv(request: HttpRequest, pk: int) -> HttpResponse:
    """The problems of a batch as CSV."""
    batch = get_object_or_404(Batch, pk=pk)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="batch-{pk}-problems.csv"'
    response.write(csv_line(["line", "problem", "what to do", "text"]))
    for one in batch.problems.all():
        response.write(csv_line([one.line or "file", one.message, one.cure, one.text]))
    return response


@require_GET
def examples_download(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The examples as the portal keeps them, JSON lines; refused where they were changed."""
    batch = get_object_or_404(Batch, pk=pk)
    if not batch.examples_path.is_file():
        raise Http404
    try:
        seals_check(batch_seals(batch))
    except SealError as error:
        messages.error(request, f"{batch} was not exported: {error.message}. {error.cure}")
        return redirect("datasets:batch", pk=pk)
    name = f"batch-{pk}-examples.jsonl"
    return FileResponse(batch.examples_path.open("rb"), as_attachment=True, filename=name)


@require_POST
def look(request: HttpRequest) -> HttpResponse:
    """What the beginning of a file is, before it is uploaded; a fragment.

    upload.js sends the first bytes as `head` and the file's name.
    """
    require_role(request, Role.TRAINER)
    from ftportal.datasets.looking import look_at

    head = request.FILES.get("head")
    data = head.read() if head else b""
    seen = look_at(
        data, filename=request.POST.get("filename", ""), is_whole=bool(request.POST.get("whole"))
    )
    return render(request, "datasets/_look.html", {"seen": seen})
