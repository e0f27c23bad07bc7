"""The second factor: set up, asked for by every way in, limited, removed, reset, required."""

import base64
import hmac
import re
import struct
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ftportal import environment
from ftportal.accounts.models import LoginSession, User
from ftportal.accounts.second_factor.services import code_check, second_factor_set, secret_make
from ftportal.accounts.services import PersonError, person_deactivate, reset_link_make
from ftportal.audit.models import AuditEntry
from tests.conftest import PASSWORD
from tests.ftportal.accounts.provider import Provider
from tests.ftportal.accounts.test_openid import connect, sign_in, who

pytestmark = pytest.mark.django_db
ASK, PAGE = "/login/code/", "/account/second-factor/"
ROUTES = (ASK, PAGE, f"{PAGE}codes/", f"{PAGE}remove/", "/people/1/second-factor/reset/")
NEW = "a rather long secret"


def totp(secret: str, *, steps: int = 0) -> str:
    """The code of RFC 6238 for now, or so many half minutes later."""
    counter = struct.pack(">Q", int(time.time()) // 30 + steps)
    digest = hmac.digest(base64.b32decode(secret), counter, "sha1")
    number = struct.unpack_from(">I", digest, digest[-1] & 15)[0] & 0x7FFFFFFF
    return f"{number % 10**6:06}"


@pytest.fixture(autouse=True)
def optional(settings: Any) -> None:
    """Second factors are configured."""
    settings.FTPORTAL_SECOND_FACTOR = "optional"
    cache.clear()


@pytest.fixture
def tina(cast: SimpleNamespace) -> SimpleNamespace:
    """Tina with a second factor: `person`, the app's `secret`, and her recovery `codes`."""
    client = Client()
    client.force_login(cast.tina)
    page = client.get(PAGE).content.decode()
    secret = "".join(re.findall(r"data-secret>([A-Z2-7 ]+)<", page)[0].split())
    answer = client.post(PAGE, {"code": totp(secret)})
    codes = re.findall(r"<li>(\d{8})</li>", answer.content.decode())
    return SimpleNamespace(person=cast.tina, client=client, secret=secret, codes=codes)


def password_shown(name: str = "tina", next_url: str = "") -> Client:
    """A browser in which the password was right, and that is asked for the code."""
    client = Client()
    fields = {"username": name, "password": PASSWORD, "next": next_url}
    answer = client.post("/login/", fields)
    assert answer.headers["Location"] == ASK
    return client


def test_off_there_is_no_route_and_nobody_is_asked(
    cast: SimpleNamespace, client_of: Any, settings: Any, tina: SimpleNamespace
) -> None:
    settings.FTPORTAL_SECOND_FACTOR = "off"
    for client in (Client(), client_of(cast.ada)):
        for method in ("get", "post"):
            statuses = {url: getattr(client, method)(url).status_code for url in ROUTES}
            assert statuses == dict.fromkeys(ROUTES, 404)
    client = Client()
    client.post("/login/", {"username": "tina", "password": PASSWORD})
    assert who(client) == "tina"
    assert "Second factor" not in client.get("/account/").content.decode()
    settings.FTPORTAL_SECOND_FACTOR = "optional"
    assert who(client) == "", "a session that was not asked ends once it is on"


def test_setting_up_shows_the_codes_once_and_ends_other_sessions(
    cast: SimpleNamespace, tina: SimpleNamespace
) -> None:
    assert len(set(tina.codes)) == 10
    assert who(tina.client) == "tina"
    page = tina.client.get(PAGE).content.decode()
    assert not re.search(r"\d{8}<", page) and "10 recovery codes left" in page
    assert tina.secret not in page.replace(" ", "")
    assert AuditEntry.objects.get(action="person.second_factor_set").target_name == "Tina"
    data = str(list(Authenticator.objects.values())) + str(list(AuditEntry.objects.values()))
    assert tina.secret not in data and tina.codes[0] not in data


def test_a_session_elsewhere_ends_when_a_second_factor_is_set_up(cast: SimpleNamespace) -> None:
    other = Client()
    other.post("/login/", {"username": "tina", "password": PASSWORD})
    kept = secret_make()
    from allauth.mfa.adapter import get_adapter

    code = totp(get_adapter().decrypt(kept))
    second_factor_set(person=cast.tina, kept=kept, code=code, keep=None)
    assert not LoginSession.objects.exists() and who(other) == ""
    with pytest.raises(PersonError, match="already"):
        second_factor_set(person=cast.tina, kept=kept, code=code, keep=None)


def test_a_wrong_code_sets_nothing_up(cast: SimpleNamespace, client_of: Any) -> None:
    client = client_of(cast.tina)
    first = client.get(PAGE)
    assert "data:image/svg+xml;base64," in first.content.decode()
    answer = client.post(PAGE, {"code": "000000"})
    assert answer.status_code == 422 and "not the code" in answer.content.decode()
    assert client.post(PAGE, {}).status_code == 422
    assert not Authenticator.objects.exists()
    secrets = [re.findall(r"data-secret>([^<]+)<", one.content.decode()) for one in (first, answer)]
    assert secrets[0] == secrets[1], "the app that was set up goes on to fit"


def test_the_password_alone_lets_nobody_in(tina: SimpleNamespace) -> None:
    client = password_shown(next_url="/batches/")
    assert who(client) == ""
    assert not LoginSession.objects.exclude(session_key=tina.client.session.session_key).exists()
    assert "no-store" in client.get(ASK).headers["Cache-Control"]
    answer = client.post(ASK, {"code": totp(tina.secret, steps=1)})
    assert answer.headers["Location"] == "/batches/"
    assert who(client) == "tina"
    row = AuditEntry.objects.filter(action="person.logged_in").first()
    assert row is not None and row.after == {"second_factor": "app"}


def test_a_code_works_once(tina: SimpleNamespace) -> None:
    code = totp(tina.secret, steps=1)
    assert password_shown().post(ASK, {"code": code}).status_code == 302
    again = password_shown().post(ASK, {"code": code})
    assert again.status_code == 422 and "does not match" in again.content.decode()
    now = password_shown().post(ASK, {"code": totp(tina.secret)})
    assert now.status_code == 422, "it was used to set up"


@pytest.mark.parametrize("written", ["{} {}", " {}-{} "])
def test_a_code_may_be_written_with_gaps(tina: SimpleNamespace, written: str) -> None:
    code = totp(tina.secret, steps=1)
    client = password_shown()
    assert client.post(ASK, {"code": written.format(code[:3], code[3:])}).status_code == 302


def test_a_recovery_code_works_once(tina: SimpleNamespace) -> None:
    client = password_shown()
    client.post(ASK, {"code": tina.codes[0]})
    assert "9 recovery codes are left" in client.get("/").content.decode()
    assert password_shown().post(ASK, {"code": tina.codes[0]}).status_code == 422
    assert password_shown().post(ASK, {"code": tina.codes[1]}).status_code == 302
    used = AuditEntry.objects.filter(action="person.recovery_code").first()
    assert used is not None and (used.actor, used.after) == (tina.person, {"left": 8})


def test_new_recovery_codes_take_the_place_of_the_old(tina: SimpleNamespace) -> None:
    url = f"{PAGE}codes/"
    assert tina.client.post(url, {"code": "1"}).status_code == 422
    page = tina.client.post(url, {"code": tina.codes[0]}).content.decode()
    new = re.findall(r"<li>(\d{8})</li>", page)
    assert len(new) == 10 and not set(new) & set(tina.codes)
    assert password_shown().post(ASK, {"code": tina.codes[1]}).status_code == 422
    assert password_shown().post(ASK, {"code": new[0]}).status_code == 302
    assert AuditEntry.objects.filter(action="person.recovery_codes").count() == 1


def test_too_many_wrong_codes_are_looked_at_no_more_from_anywhere(
    tina: SimpleNamespace, cast: SimpleNamespace, settings: Any
) -> None:
    for number in range(settings.AXES_FAILURE_LIMIT):
        address = f"10.0.0.{number}"
        client = password_shown()
        answer = client.post(ASK, {"code": "000000"}, REMOTE_ADDR=address)
        assert "does not match" in answer.content.decode()
    client = password_shown()
    answer = client.post(ASK, {"code": totp(tina.secret, steps=1)})
    assert "Too many wrong codes" in answer.content.decode() and who(client) == ""
    wrong = AuditEntry.objects.filter(action="person.code_wrong", target_key=str(tina.person.pk))
    assert wrong.count() == settings.AXES_FAILURE_LIMIT
    assert wrong.values_list("address", flat=True).distinct().count() == 10
    assert "000000" not in str(list(AuditEntry.objects.values()))
    # Others are not concerned, and a quarter of an hour later neither is Tina.
    rob = Client()
    rob.post("/login/", {"username": "rob", "password": PASSWORD})
    assert who(rob) == "rob"
    settings.AXES_COOLOFF_TIME = timedelta(0)
    assert client.post(ASK, {"code": totp(tina.secret, steps=1)}).status_code == 302


def test_wrong_passwords_are_limited_as_ever(tina: SimpleNamespace, settings: Any) -> None:
    client = Client()
    for _ in range(settings.AXES_FAILURE_LIMIT):
        answer = client.post("/login/", {"username": "tina", "password": "wrong"})
    assert answer.status_code == 429
    assert client.post("/login/", {"username": "tina", "password": PASSWORD}).status_code == 429


@pytest.mark.parametrize("what", ["old", "kept out", "new password", "nothing"])
def test_who_is_asked_must_still_be_allowed_in(
    tina: SimpleNamespace, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = password_shown()
    code = totp(tina.secret, steps=1)
    if what == "old":
        later = time.time() + 601
        monkeypatch.setattr("ftportal.accounts.entering.time.time", lambda: later)
    elif what == "kept out":
        person_deactivate(person=tina.person)
    elif what == "new password":
        person = User.objects.get(pk=tina.person.pk)
        person.set_password(NEW)
        person.save()
    answer = client.post(ASK, {"code": code})
    assert answer.headers["Location"] == ("/" if what == "nothing" else "/login/")
    monkeypatch.undo()
    assert who(client) == ("tina" if what == "nothing" else "")


def test_nobody_is_asked_who_showed_nothing(tina: SimpleNamespace) -> None:
    client = Client()
    for answer in (client.get(ASK), client.post(ASK, {"code": totp(tina.secret, steps=1)})):
        assert answer.headers["Location"] == "/login/"
    assert who(client) == ""


def test_a_link_to_a_new_password_does_not_go_around_it(
    tina: SimpleNamespace, cast: SimpleNamespace
) -> None:
    token = reset_link_make(person=tina.person, made_by=cast.ada)
    client = Client()
    url = reverse("accounts:welcome", args=[token])
    assert client.post(url, {"password": NEW, "again": NEW}).headers["Location"] == ASK
    assert who(client) == ""
    client.post(ASK, {"code": tina.codes[0]})
    assert who(client) == "tina"


def test_a_provider_does_not_go_around_it(provider: Provider, cast: SimpleNamespace) -> None:
    client = connect(provider, cast.tina)
    page = client.get(PAGE).content.decode()
    secret = "".join(re.findall(r"data-secret>([A-Z2-7 ]+)<", page)[0].split())
    client.post(PAGE, {"code": totp(secret)})
    other = Client()
    assert sign_in(provider, other, "/runs/").headers["Location"] == ASK
    assert who(other) == ""
    answer = other.post(ASK, {"code": totp(secret, steps=1)})
    assert answer.headers["Location"] == "/runs/" and who(other) == "tina"
    row = AuditEntry.objects.filter(action="person.logged_in").first()
    assert row is not None and row.after == {"with": "Example", "second_factor": "app"}


def test_a_session_that_came_about_without_it_ends(tina: SimpleNamespace, client_of: Any) -> None:
    client = client_of(tina.person)
    answer = client.get("/batches/")
    assert answer.headers["Location"] == "/login/"
    assert who(client) == ""
    part = client_of(tina.person).get("/", headers={"HX-Request": "true"})
    assert part.headers["HX-Redirect"] == "/login/"


def test_removing_it_takes_a_code(tina: SimpleNamespace) -> None:
    url = f"{PAGE}remove/"
    assert tina.client.post(url, {"code": "1"}).status_code == 422
    assert tina.client.post(url, {"code": tina.codes[0]}).headers["Location"] == "/account/"
    assert not Authenticator.objects.exists() and who(tina.client) == "tina"
    client = Client()
    client.post("/login/", {"username": "tina", "password": PASSWORD})
    assert who(client) == "tina"
    assert AuditEntry.objects.get(action="person.second_factor_removed").actor == tina.person
    assert tina.client.post(url, {"code": "1"}).headers["Location"] == PAGE
    assert tina.client.post(f"{PAGE}codes/", {"code": "1"}).headers["Location"] == PAGE


def test_an_administrator_resets_it(
    tina: SimpleNamespace, cast: SimpleNamespace, client_of: Any
) -> None:
    ada, page = client_of(cast.ada), reverse("accounts:person", args=[tina.person.pk])
    assert "Reset the second factor of Tina" in ada.get(page).content.decode()
    url = reverse("accounts:person_second_factor", args=[tina.person.pk])
    ada.post(url)
    assert not Authenticator.objects.exists()
    assert who(tina.client) == "", "every session ends"
    row = AuditEntry.objects.get(action="person.second_factor_reset")
    assert (row.actor, row.target_key) == (cast.ada, str(tina.person.pk))
    client = Client()
    client.post("/login/", {"username": "tina", "password": PASSWORD})
    assert who(client) == "tina"
    ada.post(url)
    assert "has no second factor" in ada.get(page).content.decode()


def test_an_administrator_needs_a_code_for_their_own(
    tina: SimpleNamespace, cast: SimpleNamespace
) -> None:
    User.objects.filter(pk=tina.person.pk).update(is_superuser=True)
    tina.client.post(reverse("accounts:person_second_factor", args=[tina.person.pk]))
    assert Authenticator.objects.exists() and who(tina.client) == "tina"


def test_the_last_administrator_is_helped_by_a_command(tina: SimpleNamespace) -> None:
    with pytest.raises(CommandError, match="Nobody logs in as"):
        call_command("second_factor_reset", "nobody")
    call_command("second_factor_reset", "tina")
    assert not Authenticator.objects.exists()
    with pytest.raises(CommandError, match="no second factor"):
        call_command("second_factor_reset", "tina")


def test_required_nothing_goes_on_without_it(
    cast: SimpleNamespace, settings: Any, client_of: Any
) -> None:
    settings.FTPORTAL_SECOND_FACTOR = "required"
    client = client_of(cast.tina)
    for url in ("/", "/batches/", "/account/", "/login/provider/", "/people/"):
        answer = client.get(url)
        assert answer.status_code in (302, 404), url
        assert answer.status_code == 404 or answer.headers["Location"] == PAGE
    posted = client.post("/account/", {"display_name": "Other", "email": ""})
    assert posted.headers["Location"] == PAGE
    assert User.objects.get(pk=cast.tina.pk).first_name == "Tina"
    assert client.get("/", headers={"HX-Request": "true"}).headers["HX-Redirect"] == PAGE
    page = client.get(PAGE).content.decode()
    assert "Everybody here needs one" in page
    secret = "".join(re.findall(r"data-secret>([A-Z2-7 ]+)<", page)[0].split())
    client.post(PAGE, {"code": totp(secret)})
    assert client.get("/batches/").status_code == 200
    client.post(f"{PAGE}remove/", {"code": totp(secret, steps=1)})
    assert client.get("/batches/").headers["Location"] == PAGE
    assert client.post("/logout/").headers["Location"] == "/login/"


def test_a_secret_key_that_changed_says_so(tina: SimpleNamespace, settings: Any) -> None:
    settings.SECRET_KEY, before = "another", settings.SECRET_KEY
    with pytest.raises(PersonError, match="secret key has changed"):
        code_check(person=tina.person, code=totp(tina.secret, steps=1))
    settings.SECRET_KEY_FALLBACKS = [before]
    assert code_check(person=tina.person, code=totp(tina.secret, steps=1)) == "app"


def test_tries_older_than_the_limit_do_not_count(tina: SimpleNamespace, settings: Any) -> None:
    for _ in range(settings.AXES_FAILURE_LIMIT):
        with pytest.raises(PersonError):
            code_check(person=tina.person, code="000000")
    from django.db import connection

    long_ago = timezone.now() - timedelta(minutes=16)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE audit_auditentry SET at = %s", [long_ago.isoformat(" ")])
    assert code_check(person=tina.person, code=tina.codes[0]) == "recovery code"


def test_a_word_that_is_none_of_the_three_refuses_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def chosen(word: str) -> str:
        monkeypatch.setenv("A_CHOICE", word)
        return environment.choice("A_CHOICE", "off", "optional", "required")

    assert (chosen(""), chosen("Required")) == ("off", "required")
    with pytest.raises(ImproperlyConfigured, match="off, optional, required"):
        chosen("true")
