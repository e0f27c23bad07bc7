"""Pages about the second factor: asked for at the log-in, set up, and taken away."""

from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from ftportal.accounts.entering import let_in, pass_on, waiting
from ftportal.accounts.models import Role, User
from ftportal.accounts.optional import only_where
from ftportal.accounts.roles import require_role
from ftportal.accounts.second_factor.forms import CodeForm
from ftportal.accounts.second_factor.selectors import (
    codes_left,
    factor_of,
    is_on,
    is_required,
    set_up_of,
)
from ftportal.accounts.second_factor.services import (
    RECOVERY,
    code_check,
    recovery_codes_renew,
    second_factor_remove,
    second_factor_reset,
    second_factor_set,
    secret_make,
)
from ftportal.accounts.services import PersonError

_SECRET = "second_factor_secret"  # noqa: S105 - where the session keeps it until it is set up


@only_where(is_on)
@never_cache
@login_not_required
@require_http_methods(["GET", "POST"])
def ask(request: HttpRequest) -> HttpResponse:
    """Ask somebody who has shown a password, a link or a provider for the second factor."""
    who = waiting(request)
    if who is None:
        return redirect("accounts:login")
    form = CodeForm(request.POST if request.method == "POST" else None)
    form.fields["code"].widget.attrs["autofocus"] = True
    ways: list[str] = []
    if _try(form, lambda code: ways.append(code_check(person=who.person, code=code))):
        answer = let_in(request, who, factor=ways[0])
        if ways[0] == RECOVERY:
            _tell_left(request, who.person)
        return answer
    status = 422 if form.is_bound else 200
    return render(
        request, "accounts/second_factor_ask.html", {"form": form, "who": who}, status=status
    )


def _try(form: CodeForm, use: Callable[[str], object]) -> bool:
    """Use the code of a form; what is wrong with it stands at its field."""
    if not form.is_valid():
        return False
    try:
        use(form.cleaned_data["code"])
    except PersonError as error:
        form.add_error("code", f"{error.message} {error.cure}")
        return False
    return True


def _tell_left(request: HttpRequest, person: User) -> None:
    left = codes_left(person)
    words = f"{left} recovery code{'s are' if left != 1 else ' is'} left"
    cure = "" if left > 2 else " Make new ones on Your account, under Second factor."
    messages.warning(request, f"That recovery code is used up; {words}.{cure}")


@only_where(is_on)
@never_cache
@require_http_methods(["GET", "POST"])
def second_factor(request: HttpRequest) -> HttpResponse:
    """Set up one's own second factor, or see what it is."""
    person = _me(request)
    if factor_of(person) is not None:
        return _page(request, person)
    if _SECRET not in request.session:
        request.session[_SECRET] = secret_make()
    kept, codes = request.session[_SECRET], list[str]()
    form = CodeForm(request.POST if request.method == "POST" else None)
    session = request.session.session_key
    if _try(
        form,
        lambda code: codes.extend(
            second_factor_set(person=person, kept=kept, code=code, keep=session)
        ),
    ):
        del request.session[_SECRET]
        pass_on(request, person)
        return _page(request, person, codes=codes)
    context = {"form": form, "set_up": set_up_of(person, kept), "is_required": is_required()}
    status = 422 if form.is_bound else 200
    return render(request, "accounts/second_factor_set.html", context, status=status)


def _me(request: HttpRequest) -> User:
    return User.objects.get(pk=request.user.pk or 0)


def _page(
    request: HttpRequest,
    person: User,
    *,
    codes: list[str] | None = None,
    renew: CodeForm | None = None,
    remove: CodeForm | None = None,
) -> HttpResponse:
    context = {
        "factor": factor_of(person),
        "left": codes_left(person),
        "codes": codes,
        "renew_form": renew or CodeForm(auto_id="renew_%s"),
        "remove_form": remove or CodeForm(auto_id="remove_%s"),
        "is_required": is_required(),
    }
    status = 422 if renew or remove else 200
    return render(request, "accounts/second_factor.html", context, status=status)


@only_where(is_on)
@never_cache
@require_POST
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """Make new recovery codes, shown once."""
    person = _me(request)
    if factor_of(person) is None:
        return redirect("accounts:second_factor")
    form, made = CodeForm(request.POST, auto_id="renew_%s"), list[str]()
    if _try(form, lambda code: made.extend(recovery_codes_renew(person=person, code=code))):
        return _page(request, person, codes=made)
    return _page(request, person, renew=form)


@only_where(is_on)
@never_cache
@require_POST
def remove(request: HttpRequest) -> HttpResponse:
    """Remove one's own second factor."""
    person = _me(request)
    if factor_of(person) is None:
        return redirect("accounts:second_factor")
    form = CodeForm(request.POST, auto_id="remove_%s")
    if not _try(form, lambda code: second_factor_remove(person=person, code=code)):
        return _page(request, person, remove=form)
    messages.success(request, "Your second factor is removed.")
    return redirect("accounts:second_factor" if is_required() else "accounts:account")


@only_where(is_on)
@require_POST
def person_reset(request: HttpRequest, pk: int) -> HttpResponse:
    """Take away the second factor of somebody who lost it."""
    user = require_role(request, Role.ADMINISTRATOR)
    person = get_object_or_404(User, pk=pk)
    if person.pk == user.pk:
        messages.error(request, "Remove your own second factor on Your account, with a code.")
        return redirect("accounts:person", pk=pk)
    try:
        second_factor_reset(person=person)
    except PersonError as error:
        messages.error(request, f"{error.message} {error.cure}")
    else:
        words = "sets up a new one at the next log-in" if is_required() else "logs in without one"
        messages.success(request, f"The second factor of {person} is gone: {person} {words}.")
    return redirect("accounts:person", pk=pk)
