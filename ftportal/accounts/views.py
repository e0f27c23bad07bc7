"""People: the administrators' pages, and the links that let somebody in."""

from collections.abc import Callable

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.core.mail import send_mail
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ftportal.accounts.account_views import ways_in
from ftportal.accounts.entering import enter
from ftportal.accounts.forms import (
    InviteForm,
    JoinForm,
    PasswordForm,
    role_choices,
)
from ftportal.accounts.models import Link, LinkKind, Role, User
from ftportal.accounts.openid.selectors import provider_name
from ftportal.accounts.roles import require_role
from ftportal.accounts.selectors import invitations_open, login_sessions, people
from ftportal.accounts.services import (
    PersonError,
    link_join,
    link_of,
    link_reset,
    link_withdraw,
    person_deactivate,
    person_invite,
    person_reactivate,
    reset_link_make,
    roles_set,
    sessions_end,
)
from ftportal.pages.lists import page_of, text_of

_SORT = {"name": "first_name", "login": "username", "seen": "seen_at", "since": "date_joined"}


@require_GET
def persons(request: HttpRequest) -> HttpResponse:
    """Everybody with a login, and who was invited."""
    require_role(request, Role.ADMINISTRATOR)
    return _people_page(request, InviteForm())


def _people_page(
    request: HttpRequest, form: InviteForm, link: str = "", name: str = "", status: int = 200
) -> HttpResponse:
    text, deactivated = text_of(request, "text"), bool(request.GET.get("deactivated"))
    rows = people(text=text, deactivated=deactivated)
    context = {
        "listing": page_of(request, rows, sort=_SORT, default="name"),
        "text": text,
        "deactivated": deactivated,
        "invitations": invitations_open(),
        "form": form,
        "roles": role_choices(),
        "chosen_roles": request.POST.getlist("roles") if form.is_bound else [Role.REVIEWER.value],
        "link": link,
        "link_name": name,
        "has_mail": bool(settings.EMAIL_HOST),
        "provider_name": provider_name(),
    }
    return render(request, "accounts/people.html", context, status=status)


@never_cache
@require_POST
def invite(request: HttpRequest) -> HttpResponse:
    """Invite somebody; the link is shown once, and sent where mail is configured."""
    user = require_role(request, Role.ADMINISTRATOR)
    form = InviteForm(request.POST)
    if not form.is_valid():
        return _people_page(request, form, status=422)
    values = form.cleaned_data
    try:
        token = person_invite(invited_by=user, **values)
    except PersonError as error:
        form.add_error("display_name", f"{error.message} {error.cure}")
        return _people_page(request, form, status=422)
    url = _link_url(request, token)
    if values["email"]:
        _mail(
            request,
            values["email"],
            "You are invited to ftportal",
            f"{user} invites you to ftportal. This link works once, for seven days:\n\n{url}\n",
        )
    return _people_page(request, InviteForm(), link=url, name=values["display_name"])


def _link_url(request: HttpRequest, token: str) -> str:
    return request.build_absolute_uri(reverse("accounts:welcome", args=[token]))


def _mail(request: HttpRequest, to: str, subject: str, body: str) -> None:
    """Send a link where mail is configured; a page that shows it says so where that fails."""
    if not settings.EMAIL_HOST:
        return
    try:
        send_mail(subject, body, None, [to])
    except OSError as error:
        messages.error(request, f"The mail to {to} was not sent: {error}. Hand the link over.")
    else:
        messages.success(request, f"The link was sent to {to}.")


@require_POST
def invitation_withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """Make an invitation good for nothing."""
    require_role(request, Role.ADMINISTRATOR)
    link = get_object_or_404(Link, pk=pk, kind=LinkKind.INVITATION, used_at=None)
    link_withdraw(link=link)
    messages.success(request, f"The invitation of {link.display_name} works no more.")
    return redirect("accounts:people")


@require_GET
def person(request: HttpRequest, pk: int) -> HttpResponse:
    """One person: roles, sessions, and what an administrator can do."""
    user = require_role(request, Role.ADMINISTRATOR)
    return _person_page(request, get_object_or_404(User, pk=pk), user)


def _person_page(request: HttpRequest, shown: User, user: User, link: str = "") -> HttpResponse:
    context = {
        "person": shown,
        "is_self": shown.pk == user.pk,
        "roles": role_choices(),
        "sessions": login_sessions(shown),
        "link": link,
        **ways_in(shown),
    }
    return render(request, "accounts/person.html", context)


@require_POST
def person_roles(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a person roles."""
    require_role(request, Role.ADMINISTRATOR)
    shown = get_object_or_404(User, pk=pk)
    roles = [role for role in request.POST.getlist("roles") if role in Role.values]
    _try(request, lambda: roles_set(person=shown, roles=roles), f"The roles of {shown} are set.")
    return redirect("accounts:person", pk=pk)


@require_POST
def person_state(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep a person out, or let one back in."""
    require_role(request, Role.ADMINISTRATOR)
    shown = get_object_or_404(User, pk=pk)
    if request.POST.get("active"):
        _try(request, lambda: person_reactivate(person=shown), f"{shown} may log in again.")
    else:
        _try(request, lambda: person_deactivate(person=shown), f"{shown} may not log in any more.")
    return redirect("accounts:person", pk=pk)


@never_cache
@require_POST
def person_reset(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a link by which a person chooses a new password; it is shown once."""
    user = require_role(request, Role.ADMINISTRATOR)
    shown = get_object_or_404(User, pk=pk)
    try:
        url = _link_url(request, reset_link_make(person=shown, made_by=user))
    except PersonError as error:
        messages.error(request, f"{error.message} {error.cure}")
        return redirect("accounts:person", pk=pk)
    if shown.email:
        body = f"Choose a new password for ftportal. This link works once, today:\n\n{url}\n"
        _mail(request, shown.email, "A new password for ftportal", body)
    return _person_page(request, shown, user, link=url)


@require_POST
def person_sessions(request: HttpRequest, pk: int) -> HttpResponse:
    """End every session of a person."""
    require_role(request, Role.ADMINISTRATOR)
    shown = get_object_or_404(User, pk=pk)
    keep = request.session.session_key if shown.pk == request.user.pk else None
    count = sessions_end(person=shown, keep=keep)
    messages.success(request, f"{count} session{'s' if count != 1 else ''} of {shown} ended.")
    return redirect("accounts:person", pk=pk)


def _try(request: HttpRequest, change: Callable[[], None], done: str) -> None:
    try:
        change()
    except PersonError as error:
        messages.error(request, f"{error.message} {error.cure}")
    else:
        messages.success(request, done)


@never_cache
@login_not_required
@require_http_methods(["GET", "POST"])
def welcome(request: HttpRequest, token: str) -> HttpResponse:
    """Where a one-time link leads: join, or choose a new password."""
    try:
        link = link_of(token)
    except PersonError as error:
        return render(request, "accounts/welcome.html", {"problem": error}, status=410)
    is_reset = link.kind == LinkKind.RESET
    data = request.POST if request.method == "POST" else None
    initial = {"display_name": link.display_name}
    form = PasswordForm(data) if is_reset else JoinForm(data, initial=initial)
    if data is not None and form.is_valid():
        try:
            user = _enter(token, form, is_reset)
        except PersonError as error:
            form.add_error(error.field, f"{error.message} {error.cure}")
        else:
            return enter(request, user)
    context = {"form": form, "link": link, "is_reset": is_reset}
    status = 422 if form.errors else 200
    return render(request, "accounts/welcome.html", context, status=status)


def _enter(token: str, form: PasswordForm, is_reset: bool) -> User:
    values = form.cleaned_data
    if is_reset:
        return link_reset(token=token, password=values["password"])
    return link_join(
        token=token,
        username=values["username"],
        display_name=values["display_name"],
        password=values["password"],
    )


def locked_out(request: HttpRequest, *_: object, **__: object) -> HttpResponse:
    """The log-in page after too many wrong passwords for one name from one address."""
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    context = {
        "form": AuthenticationForm(request),
        "locked_out": True,
        "locked_minutes": minutes,
        "next": request.POST.get("next", ""),
        "provider_name": provider_name(),
    }
    return render(request, "accounts/login.html", context, status=429)
