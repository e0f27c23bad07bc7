"""People: links that work once, roles, sessions, the last administrator, and log-in limits."""

import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ftportal.accounts.models import Link, LoginSession, User
from ftportal.accounts.selectors import login_sessions
from ftportal.accounts.services import (
    PersonError,
    first_administrator_link,
    link_join,
    link_of,
    link_reset,
    person_deactivate,
    person_invite,
    reset_link_make,
    roles_set,
)
from ftportal.accounts.tasks import sessions_forget_daily
from ftportal.audit.models import AuditEntry
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db
NEW = "a rather long secret"


def join(token: str, username: str = "nora", **changes: str) -> User:
    values = {"username": username, "display_name": "Nora", "password": NEW, **changes}
    return link_join(token=token, **values)


def log_in(client: Client, name: str, password: str = PASSWORD) -> bool:
    """Log in by the form, as people do; whether that worked."""
    fields = {"username": name, "password": password}
    return bool(client.post(reverse("accounts:login"), fields).status_code == 302)


def test_the_first_administrator_joins_by_the_link_of_the_start_and_nobody_after(
    data_dir: Any, tmp_path: Any
) -> None:
    path = tmp_path / "link"
    call_command("first_administrator", file=path)
    assert path.stat().st_mode & 0o077 == 0
    url = path.read_text()
    client = Client()
    assert "You are the first administrator" in client.get(url).content.decode()
    fields = {"username": "Nora", "display_name": "Nora N.", "password": NEW, "again": NEW}
    assert client.post(url, fields).headers["Location"] == reverse("dashboard:home")
    nora = User.objects.get()
    assert (nora.username, str(nora), nora.roles) == ("nora", "Nora N.", ["administrator"])
    assert client.get(reverse("accounts:people")).status_code == 200
    assert Client().get(url).status_code == 410
    call_command("first_administrator", file=path)
    assert not path.exists() and first_administrator_link() is None


def test_each_start_makes_a_new_link_and_the_one_before_is_good_for_nothing() -> None:
    first, second = first_administrator_link(), first_administrator_link()
    assert first and second
    with pytest.raises(PersonError, match="not one of ours"):
        join(first)
    join(second)


def test_an_invitation_works_once_gives_its_roles_and_keeps_no_secret(
    cast: SimpleNamespace,
) -> None:
    token = person_invite(invited_by=cast.ada, display_name="Nora", roles=["reviewer", "trainer"])
    assert token not in str(list(Link.objects.values())) + str(list(AuditEntry.objects.values()))
    nora = join(token)
    assert nora.roles == ["trainer", "reviewer"]
    with pytest.raises(PersonError, match="used already"):
        join(token, "other")
    assert AuditEntry.objects.filter(action="person.joined", actor=nora).exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"username": "tina"}, "is called tina already"),
        ({"username": "../x"}, "small letters"),
        ({"password": "short"}, "too short"),
        ({"password": "password1"}, "too common"),
    ],
)
def test_what_cannot_join_leaves_the_link_as_it_was(
    cast: SimpleNamespace, changes: dict[str, str], message: str
) -> None:
    token = person_invite(invited_by=cast.ada, display_name="Nora", roles=[])
    with pytest.raises(PersonError, match=message):
        join(token, **changes)
    assert link_of(token).is_open


def test_an_old_link_is_refused(cast: SimpleNamespace) -> None:
    token = person_invite(invited_by=cast.ada, display_name="Nora", roles=[])
    Link.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    with pytest.raises(PersonError, match="too old"):
        join(token)


def test_a_reset_link_works_once_and_ends_every_session(
    cast: SimpleNamespace, client: Client
) -> None:
    log_in(client, "tina")
    assert client.get("/").status_code == 200
    first = reset_link_make(person=cast.tina, made_by=cast.ada)
    token = reset_link_make(person=cast.tina, made_by=cast.ada)
    with pytest.raises(PersonError, match="not one of ours"):
        link_reset(token=first, password=NEW)
    link_reset(token=token, password=NEW)
    assert client.get("/").status_code == 302
    with pytest.raises(PersonError, match="used already"):
        link_reset(token=token, password=NEW)
    assert log_in(client, "tina", NEW)


def test_the_last_administrator_stays(cast: SimpleNamespace) -> None:
    with pytest.raises(PersonError, match="last administrator"):
        roles_set(person=cast.ada, roles=["trainer"])
    with pytest.raises(PersonError, match="last administrator"):
        person_deactivate(person=cast.ada)
    roles_set(person=cast.tina, roles=["administrator"])
    roles_set(person=cast.ada, roles=["trainer"])
    cast.ada.refresh_from_db()
    assert cast.ada.roles == ["trainer"]
    entry = AuditEntry.objects.filter(action="person.roles").first()
    assert entry is not None
    assert (entry.before, entry.after) == (
        {"roles": ["administrator"]},
        {"roles": ["trainer"]},
    )


def test_who_is_kept_out_is_out_at_once_and_comes_back_with_the_roles(
    cast: SimpleNamespace, client_of: Any, client: Client
) -> None:
    log_in(client, "tina")
    ada = client_of(cast.ada)
    state = reverse("accounts:person_state", args=[cast.tina.pk])
    ada.post(state)
    assert client.get("/").status_code == 302
    assert not log_in(client, "tina")
    ada.post(state, {"active": "yes"})
    assert log_in(client, "tina")
    assert client.get(reverse("runs:run_new")).status_code == 200


def test_wrong_passwords_lock_a_name_from_an_address_and_no_other(
    cast: SimpleNamespace, settings: Any
) -> None:
    client, login = Client(), reverse("accounts:login")

    def attempt(name: str, password: str, address: str = "10.0.0.1") -> int:
        fields = {"username": name, "password": password}
        return int(client.post(login, fields, REMOTE_ADDR=address).status_code)

    for _ in range(settings.AXES_FAILURE_LIMIT - 1):
        assert attempt("tina", "wrong") == 200
    assert attempt("tina", "wrong") == 429
    assert attempt("tina", PASSWORD) == 429, "the right one does not help now"
    assert attempt("rob", PASSWORD) == 302
    assert attempt("tina", PASSWORD, "10.0.0.2") == 302
    assert AuditEntry.objects.filter(action="person.login_failed").count() >= 9
    assert "wrong" not in str(list(AuditEntry.objects.values()))


def test_a_session_lasts_while_somebody_is_there_and_asking_pages_do_not_count(
    cast: SimpleNamespace, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(client, "tina")
    client.get("/", headers={"User-Agent": "Mozilla/5.0 (X11; Linux) Firefox/140.0"})
    session = LoginSession.objects.get()
    assert session.browser == "Firefox on Linux"
    begun = client.session.get_expiry_date()
    later = timezone.now() + timedelta(hours=6)
    monkeypatch.setattr("ftportal.accounts.middleware.timezone.now", lambda: later)
    client.get("/", headers={"HX-Request": "true"})
    assert LoginSession.objects.get().seen_at == session.seen_at
    client.get("/batches/")
    assert LoginSession.objects.get().seen_at == later
    assert client.session.get_expiry_date() > begun
    assert client.session.get_expiry_age() <= 12 * 3600


def test_pages_behind_the_login_are_not_stored(cast: SimpleNamespace, client_of: Any) -> None:
    client = client_of(cast.tina)
    for url in ("/", "/batches/", "/people/", "/account/"):
        assert "no-store" in client.get(url).headers["Cache-Control"]


def test_ones_own_page(cast: SimpleNamespace) -> None:
    client, other = Client(), Client()
    for one in (client, other):
        log_in(one, "tina")
        one.get("/")
    url = reverse("accounts:account")
    fields = {"display_name": "Tina T.", "email": "t@example.org"}
    client.post(url, fields)
    cast.tina.refresh_from_db()
    assert (str(cast.tina), cast.tina.email) == ("Tina T.", "t@example.org")
    password = reverse("accounts:account_password")
    wrong = client.post(password, {"old": "no", "password": NEW, "again": NEW})
    assert "not your password of now" in wrong.content.decode()
    differs = client.post(password, {"old": PASSWORD, "password": NEW, "again": "x"})
    assert "The two are not the same" in differs.content.decode()
    client.post(password, {"old": PASSWORD, "password": NEW, "again": NEW})
    page = client.get(url).content.decode()
    assert "this one" in page and LoginSession.objects.count() == 1
    assert other.get(url).status_code == 302


def test_a_session_that_ended_by_itself_is_not_shown(cast: SimpleNamespace) -> None:
    client = Client()
    log_in(client, "tina")
    LoginSession.objects.update(seen_at=timezone.now() - timedelta(hours=13))
    assert login_sessions(cast.tina) == []
    log_in(Client(), "tina")
    assert LoginSession.objects.count() == 1


def test_sessions_that_ended_leave_no_row_and_living_ones_stay(cast: SimpleNamespace) -> None:
    clients = [Client(), Client()]
    for client in clients:
        client.post("/login/", {"username": "tina", "password": PASSWORD})
    gone, stays = (client.cookies["sessionid"].value for client in clients)
    Session.objects.filter(pk=gone).update(expire_date=timezone.now() - timedelta(seconds=1))
    sessions_forget_daily()
    assert set(Session.objects.values_list("pk", flat=True)) == {stays}
    assert [one.session_key for one in login_sessions(cast.tina)] == [stays]


def test_what_is_wrong_with_a_name_stands_at_the_name(cast: SimpleNamespace) -> None:
    token = person_invite(invited_by=cast.ada, display_name="Nora", roles=[])
    fields = {"username": "tina", "display_name": "Nora", "password": NEW, "again": NEW}
    page = Client().post(reverse("accounts:welcome", args=[token]), fields)
    assert page.status_code == 422
    assert "is called tina already" in page.context["form"].errors["username"][0]


def test_an_administrator_invites_in_the_browser_and_sees_the_link_once(
    cast: SimpleNamespace, client_of: Any, settings: Any
) -> None:
    client, people = client_of(cast.ada), reverse("accounts:people")
    invite = reverse("accounts:invite")
    assert "Write who it is for." in client.post(invite, {}).content.decode()
    settings.EMAIL_HOST = "mail.example.org"
    fields = {"display_name": "Nora", "roles": ["reviewer"], "email": "nora@example.org"}
    page = client.post(invite, fields).content.decode()
    match = re.search(r"http://testserver(/welcome/[^<]+)", page)
    assert match is not None
    assert match[1] in str(mail.outbox[0].body)
    listed = client.get(people).content.decode()
    assert "/welcome/" not in listed and "Nora" in listed
    link = Link.objects.get()
    client.post(reverse("accounts:invitation_withdraw", args=[link.pk]))
    assert Client().get(match[1]).status_code == 410
