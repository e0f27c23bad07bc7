"""One's own account: name, password, sessions, and how dates are written."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from ftportal.accounts.forms import DatesForm, OwnPasswordForm, ProfileForm
from ftportal.accounts.middleware import session_go_on
from ftportal.accounts.models import User
from ftportal.accounts.openid.forms import ConnectForm
from ftportal.accounts.openid.selectors import account_of, provider_name
from ftportal.accounts.second_factor.selectors import codes_left, factor_asked
from ftportal.accounts.second_factor.selectors import is_on as has_second_factors
from ftportal.accounts.selectors import login_sessions
from ftportal.accounts.services import (
    PersonError,
    dates_set,
    password_change,
    profile_set,
    sessions_end,
)
from ftportal.pages.dates import zones
from ftportal.pages.lists import key_of


@require_http_methods(["GET", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """The page, and its form for the name."""
    user = _me(request)
    if request.method != "POST":
        return _page(request, user)
    form = ProfileForm(request.POST)
    if form.is_valid():
        try:
            profile_set(person=user, **form.cleaned_data)
        except PersonError as error:
            form.add_error(None, f"{error.message} {error.cure}")
        else:
            messages.success(request, "Kept.")
            return redirect("accounts:account")
    return _page(request, user, form=form)


def _me(request: HttpRequest) -> User:
    """Who is logged in, as the database has them now."""
    return User.objects.get(pk=request.user.pk or 0)


def _page(
    request: HttpRequest,
    user: User,
    *,
    form: ProfileForm | None = None,
    password: OwnPasswordForm | None = None,
    dates: DatesForm | None = None,
) -> HttpResponse:
    """The page; a form that is given is the one that was refused."""
    profile = {"display_name": str(user), "email": user.email}
    written = {"date_style": user.date_style, "time_zone": user.time_zone}
    context = {
        "form": form or ProfileForm(initial=profile),
        "password_form": password or OwnPasswordForm(),
        "dates_form": dates or DatesForm(initial=written),
        "zones": zones(),
        "sessions": login_sessions(user),
        "session_key": request.session.session_key,
        "connect_form": ConnectForm(),
        "codes_left": codes_left(user) if has_second_factors() else 0,
        **ways_in(user),
    }
    status = 422 if form or password or dates else 200
    return render(request, "accounts/account.html", context, status=status)


def ways_in(person: User) -> dict[str, object]:
    """What pages say of the ways by which somebody logs in, beside the password."""
    return {
        "provider_name": provider_name(),
        "provider_account": account_of(person) if provider_name() else None,
        "has_second_factors": has_second_factors(),
        "factor": factor_asked(person),
    }


@require_POST
def account_dates(request: HttpRequest) -> HttpResponse:
    """Choose how dates are written."""
    user = _me(request)
    form = DatesForm(request.POST)
    if form.is_valid():
        try:
            dates_set(person=user, **form.cleaned_data)
        except PersonError as error:
            form.add_error(error.field, f"{error.message} {error.cure}")
        else:
            messages.success(request, "Dates are written so from now on.")
            return redirect("accounts:account")
    return _page(request, user, dates=form)


@require_POST
def account_password(request: HttpRequest) -> HttpResponse:
    """Choose a new password; other sessions end."""
    user = _me(request)
    form = OwnPasswordForm(request.POST)
    if form.is_valid() and not user.check_password(form.cleaned_data["old"]):
        form.add_error("old", "That is not your password of now.")
    if form.is_valid():
        try:
            password_change(
                person=user,
                password=form.cleaned_data["password"],
                keep=request.session.session_key,
            )
        except PersonError as error:
            form.add_error(error.field, f"{error.message} {error.cure}")
        else:
            session_go_on(request, user)
            messages.success(request, "Your new password is in force; other sessions ended.")
            return redirect("accounts:account")
    return _page(request, user, password=form)


@require_POST
def account_sessions(request: HttpRequest) -> HttpResponse:
    """End one's other sessions, or one of them."""
    user = _me(request)
    only = key_of(request.POST.get("session", ""))
    count = sessions_end(person=user, keep=request.session.session_key, only=only)
    messages.success(request, f"{count} session{'s' if count != 1 else ''} ended.")
    return redirect("accounts:account")
