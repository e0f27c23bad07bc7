"""Pages of the rules that judge what suites measure."""

import time

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from ftportal.accounts.models import Role
from ftportal.accounts.roles import require_role
from ftportal.evaluations.forms import RuleForm
from ftportal.evaluations.models import VerdictRule
from ftportal.evaluations.selectors import rules_in_force
from ftportal.evaluations.services import verdict_rule_create, verdicts_renew, verdicts_stale

RENEW_SECONDS = 5.0
"""So long a request judges again after a change of a rule; the sweep does the rest."""


@require_GET
def rules(request: HttpRequest) -> HttpResponse:
    """The rules in force, in plain words."""
    return render(request, "evaluations/rules.html", {"rules": rules_in_force()})


@require_http_methods(["GET", "POST"])
def rule_edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a rule, which makes a new version of it and judges again what it has judged."""
    require_role(request, Role.ADMINISTRATOR)
    stored = get_object_or_404(VerdictRule, pk=pk)
    if request.method == "GET":
        form = RuleForm.of(stored)
    else:
        form = RuleForm(request.POST)
        if form.is_valid():
            made = verdict_rule_create(name=stored.name, rule=form.cleaned_data["rule"])
            began = time.monotonic()
            renewed = verdicts_renew(seconds_most=RENEW_SECONDS)
            # What is left without the time being used up cannot be judged, which its page says.
            was_cut = time.monotonic() - began > RENEW_SECONDS and verdicts_stale().exists()
            words = _renewed_text(len(renewed), was_cut)
            messages.success(request, f"{made} is in force. {words}")
            return redirect("evaluations:rules")
    context = {"form": form, "stored": stored}
    return render(request, "evaluations/rule_edit.html", context)


def _renewed_text(count: int, was_cut: bool) -> str:
    rest = " The others follow by themselves within a few minutes." if was_cut else ""
    if not count:
        return f"No verdict changed.{rest}"
    return f"{count} comparison{'s were' if count > 1 else ' was'} judged again.{rest}"
