"""Signing in with a provider: who comes in, who does not, and what is not believed."""

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from allauth.socialaccount.models import SocialAccount, SocialToken
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ftportal import environment
from ftportal.accounts.models import Link, LoginSession, User
from ftportal.accounts.services import person_deactivate, person_invite, person_reactivate
from ftportal.audit.models import AuditEntry
from tests.conftest import PASSWORD
from tests.ftportal.accounts.provider import Provider

pytestmark = pytest.mark.django_db
START, CALLBACK = "/login/provider/", "/login/provider/callback/"
ROUTES = (
    *(START, CALLBACK, "/account/provider/connect/", "/account/provider/disconnect/"),
    "/people/1/provider/disconnect/",
)


def way_back(provider: Provider, client: Client, next_url: str = "") -> str:
    """Begin in the browser, let the provider answer; the address that it sends the browser to."""
    answer = client.get(START, {"next": next_url} if next_url else {})
    assert answer.status_code == 302
    address = provider.authorize(answer.headers["Location"])
    assert address.startswith("http://testserver" + CALLBACK)
    return address.removeprefix("http://testserver")


def sign_in(provider: Provider, client: Client, next_url: str = "") -> Any:
    """The whole way; the portal's last answer."""
    return client.get(way_back(provider, client, next_url))


def connect(provider: Provider, person: User) -> Client:
    """Connect a person with who is logged in at the provider, as people do."""
    client = Client()
    client.force_login(person)
    page = client.post("/account/provider/connect/", {"current": PASSWORD})
    assert f'href="{START}"' in page.content.decode()
    assert sign_in(provider, client).headers["Location"] == reverse("accounts:account")
    return client


def who(client: Client) -> str:
    """Who is logged in; empty for nobody."""
    answer = client.get("/account/")
    return str(answer.context["user"].username) if answer.status_code == 200 else ""


def refused(answer: Any) -> str:
    """The plain page of a refusal: its words."""
    assert answer.status_code in (400, 403), answer.status_code
    assert "no-store" in answer.headers["Cache-Control"]
    return str(answer.content.decode())


@pytest.mark.parametrize("method", ["get", "post"])
def test_without_a_provider_there_is_no_route_and_no_button(
    cast: SimpleNamespace, client_of: Any, method: str
) -> None:
    for client in (Client(), client_of(cast.ada)):
        assert {url: getattr(client, method)(url).status_code for url in ROUTES} == dict.fromkeys(
            ROUTES, 404
        )
    assert "Sign in with" not in Client().get("/login/").content.decode()
    page = client_of(cast.ada).get("/account/").content.decode()
    assert "provider" not in page and "Second factor" not in page


def test_the_button_keeps_where_the_person_wanted_to_go(provider: Provider) -> None:
    page = Client().get("/login/?next=/batches/%3Fa=b%26c").content.decode()
    assert "Sign in with Example" in page
    assert f'href="{START}?next=/batches/%3Fa%3Db%26c"' in page


def test_an_invitation_is_opened_by_its_verified_address(
    provider: Provider, cast: SimpleNamespace
) -> None:
    roles = ["trainer"]
    person_invite(invited_by=cast.ada, display_name="Nora", roles=roles, email="Nora@Example.org")
    client = Client()
    answer = sign_in(provider, client, "/batches/")
    assert answer.headers["Location"] == "/batches/"
    nora = User.objects.get(username="nora")
    assert (str(nora), nora.email, nora.roles) == ("Nora N.", "nora@example.org", roles)
    assert not nora.has_usable_password()
    assert Link.objects.get().person == nora and Link.objects.get().used_at is not None
    assert who(client) == "nora" and LoginSession.objects.get().user == nora
    logged_in = AuditEntry.objects.get(action="person.logged_in")
    assert (logged_in.actor, logged_in.after) == (nora, {"with": "Example"})
    assert AuditEntry.objects.get(action="person.connected").after["account"] == nora.email
    # Again, by what is known now, whatever the address has become.
    provider.person |= {"email": "other@example.org", "email_verified": False}
    assert sign_in(provider, Client()).status_code == 302
    assert User.objects.filter(username__startswith="nora").count() == 1


def test_an_address_that_is_not_verified_opens_nothing(
    provider: Provider, cast: SimpleNamespace
) -> None:
    person_invite(
        invited_by=cast.ada, display_name="Nora", roles=["trainer"], email="nora@example.org"
    )
    for claim in (False, None, "false", 1, "yes"):
        provider.person["email_verified"] = claim
        client = Client()
        assert "Nobody here is known by this account" in refused(sign_in(provider, client)), claim
        assert who(client) == ""
    assert not User.objects.filter(username="nora").exists()
    assert Link.objects.get().is_open


@pytest.mark.parametrize("newcomers", [False, True])
@pytest.mark.parametrize("verified", [False, True])
def test_the_address_of_somebody_who_is_here_lets_nobody_in_as_them(
    provider: Provider, cast: SimpleNamespace, settings: Any, newcomers: bool, verified: bool
) -> None:
    settings.FTPORTAL_OIDC_NEWCOMERS = newcomers
    User.objects.filter(pk=cast.ada.pk).update(email="NORA@example.org")
    provider.person["email_verified"] = verified
    page = refused(sign_in(provider, Client()))
    assert "connect on Your account" in page and "nora@example.org" in page
    assert not SocialAccount.objects.exists() and User.objects.count() == 6


def test_an_old_or_used_invitation_opens_nothing(provider: Provider, cast: SimpleNamespace) -> None:
    person_invite(invited_by=cast.ada, display_name="N", roles=[], email="nora@example.org")
    Link.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    refused(sign_in(provider, Client()))
    Link.objects.update(
        expires_at=timezone.now() + timedelta(days=1), used_at=timezone.now(), person=cast.rob
    )
    refused(sign_in(provider, Client()))
    assert not SocialAccount.objects.exists()


def test_who_is_unknown_is_refused_with_what_to_do_and_a_row(
    provider: Provider, cast: SimpleNamespace
) -> None:
    page = refused(sign_in(provider, Client()))
    assert "Example says that you are" in page and "invite nora@example.org" in page
    row = AuditEntry.objects.get(action="person.login_failed")
    assert row.after == {"with": "Example", "account": "nora@example.org"}
    assert "Nobody here is known" in row.reason and row.address == "127.0.0.1"
    assert User.objects.count() == 6


def test_newcomers_come_in_without_roles_where_they_may(
    provider: Provider, cast: SimpleNamespace, settings: Any, client_of: Any
) -> None:
    settings.FTPORTAL_OIDC_NEWCOMERS = True
    client = Client()
    assert sign_in(provider, client).status_code == 302
    nora = User.objects.get(username="nora")
    assert nora.roles == [] and not nora.is_staff
    assert client.get(reverse("runs:run_new")).status_code == 403
    assert "Nora N." in client_of(cast.ada).get("/people/").content.decode()
    assert "You have none here." in client.get("/account/").content.decode()
    assert AuditEntry.objects.get(action="person.joined").after == {"roles": []}


@pytest.mark.parametrize("name", ["Tina", "TINA@example.org"])
def test_a_newcomer_is_not_a_second_tina(
    provider: Provider, cast: SimpleNamespace, settings: Any, name: str
) -> None:
    """Nor does she, once kept out, come back in as somebody else."""
    settings.FTPORTAL_OIDC_NEWCOMERS = True
    person_deactivate(person=cast.tina)
    provider.person["preferred_username"] = name
    assert "has this name or this address already" in refused(sign_in(provider, Client()))
    assert User.objects.count() == 6


def test_an_invited_namesake_gets_a_name_that_is_free(
    provider: Provider, cast: SimpleNamespace
) -> None:
    provider.person["preferred_username"] = "Tina"
    person_invite(invited_by=cast.ada, display_name="T", roles=[], email="nora@example.org")
    client = Client()
    sign_in(provider, client)
    assert who(client) == "tina2"


@pytest.mark.parametrize(
    ("username", "email", "expected"),
    [
        ("Nóra Nagy", "n@example.org", "n-ra-nagy"),
        ("", "Nora.N@example.org", "nora.n"),
        ("--", "n@example.org", "person"),
        ("x" * 90, "n@example.org", "x" * 40),
        (["a"], "n@example.org", "n"),
    ],
)
def test_whatever_the_provider_calls_somebody_becomes_a_name_to_log_in_with(
    provider: Provider, db: None, settings: Any, username: Any, email: str, expected: str
) -> None:
    settings.FTPORTAL_OIDC_NEWCOMERS = True
    provider.person |= {"preferred_username": username, "email": email}
    client = Client()
    sign_in(provider, client)
    assert who(client) == expected


def test_who_is_kept_out_stays_out_and_comes_back_when_let_in(
    provider: Provider, cast: SimpleNamespace
) -> None:
    client = connect(provider, cast.tina)
    person_deactivate(person=cast.tina)
    assert who(client) == ""
    other = Client()
    assert "may not log in any more" in refused(sign_in(provider, other))
    assert who(other) == ""
    row = AuditEntry.objects.filter(action="person.login_failed").first()
    assert row is not None and row.target_key == str(cast.tina.pk)
    person_reactivate(person=cast.tina)
    sign_in(provider, other)
    assert who(other) == "tina"


def test_connecting_takes_the_password_and_the_same_browser(
    provider: Provider, cast: SimpleNamespace, client_of: Any
) -> None:
    client = client_of(cast.tina)
    assert client.get(START).headers["Location"] == "/", "no password was shown"
    page = client.post("/account/provider/connect/", {"current": "wrong"})
    assert page.status_code == 422 and "not your password" in page.content.decode()
    assert client.get(START).headers["Location"] == "/"
    client.post("/account/provider/connect/", {"current": PASSWORD})
    back = way_back(provider, client)
    rob = client_of(cast.rob)
    assert rob.get(back).status_code == 400, "another browser"
    client.logout()
    client.force_login(cast.rosa)
    assert client.get(back).status_code == 400, "another session"
    assert not SocialAccount.objects.exists()


def test_a_person_connects_signs_in_and_disconnects(
    provider: Provider, cast: SimpleNamespace, client_of: Any
) -> None:
    client = connect(provider, cast.tina)
    assert "You can sign in as <strong>nora@example.org" in client.get("/account/").content.decode()
    other = Client()
    sign_in(provider, other)
    assert who(other) == "tina"
    client.post("/account/provider/disconnect/")
    assert "Nobody here is known" in refused(sign_in(provider, Client()))
    rows = list(
        AuditEntry.objects.filter(action__in=("person.connected", "person.disconnected"))
        .order_by("pk")
        .values_list("action", "actor__username", "target_name")
    )
    assert rows == [
        ("person.connected", "tina", "Tina"),
        ("person.disconnected", "tina", "Tina"),
    ]


def test_one_account_is_one_persons(
    provider: Provider, cast: SimpleNamespace, client_of: Any
) -> None:
    connect(provider, cast.tina)
    rob = client_of(cast.rob)
    rob.post("/account/provider/connect/", {"current": PASSWORD})
    sign_in(provider, rob)
    assert "connected with another person" in rob.get("/account/").content.decode()
    assert SocialAccount.objects.get().user == cast.tina


def test_an_administrator_disconnects_and_nobody_shuts_themselves_out(
    provider: Provider, cast: SimpleNamespace, client_of: Any, settings: Any
) -> None:
    settings.FTPORTAL_OIDC_NEWCOMERS = True
    client = Client()
    sign_in(provider, client)
    client.post("/account/provider/disconnect/")
    assert SocialAccount.objects.exists(), "there is no password to log in with"
    nora, ada = User.objects.get(username="nora"), client_of(cast.ada)
    assert "nora@example.org" in ada.get(f"/people/{nora.pk}/").content.decode()
    ada.post(f"/people/{nora.pk}/provider/disconnect/")
    assert not SocialAccount.objects.exists()
    assert AuditEntry.objects.get(action="person.disconnected").actor == cast.ada


def test_accounts_of_another_issuer_are_not_this_ones(
    provider: Provider, cast: SimpleNamespace
) -> None:
    SocialAccount.objects.create(
        user=cast.ada, provider="https://before.example.org", uid=provider.person["sub"]
    )
    assert "Nobody here is known" in refused(sign_in(provider, Client()))


def test_nothing_that_the_provider_gave_is_kept(provider: Provider, cast: SimpleNamespace) -> None:
    client = connect(provider, cast.tina)
    sign_in(provider, Client())
    assert not SocialToken.objects.exists()
    assert SocialAccount.objects.get().extra_data == {"label": "nora@example.org"}
    kept = json.dumps([dict(client.session), list(AuditEntry.objects.values())], default=str)
    assert "nobody keeps" not in kept


def test_what_userinfo_says_counts_where_the_token_has_no_address(
    provider: Provider, cast: SimpleNamespace
) -> None:
    person_invite(invited_by=cast.ada, display_name="N", roles=[], email="nora@example.org")
    del provider.person["email"]  # its "email_verified" is about nothing then
    refused(sign_in(provider, Client()))
    provider.userinfo = {"email": "nora@example.org"}
    refused(sign_in(provider, Client()))
    provider.userinfo = {"email": "nora@example.org", "email_verified": True, "sub": "another"}
    assert "cannot be trusted" in refused(sign_in(provider, Client()))
    del provider.userinfo["sub"]
    assert sign_in(provider, Client()).status_code == 302


LIES: dict[str, dict[str, Any]] = {
    "another audience": {"aud": "another"},
    "no audience": {"aud": None},
    "several audiences and no party": {"aud": ["portal", "another"]},
    "another party": {"azp": "another"},
    "another issuer": {"iss": "https://evil.example.org"},
    "expired": {"exp": 1_600_000_000},
    "without an end": {"exp": None},
    "from the future": {"iat": 4_000_000_000},
    "another nonce": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a long subject": {"sub": "x" * 192},
    "a subject that is a number": {"sub": 1},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_token_that_is_not_right_lets_nobody_in(
    provider: Provider, cast: SimpleNamespace, lie: str
) -> None:
    connect(provider, cast.tina)
    provider.changes = LIES[lie]
    client = Client()
    page = refused(sign_in(provider, client))
    assert "Example said something that cannot be trusted" in page and "Traceback" not in page
    assert who(client) == ""
    assert AuditEntry.objects.filter(action="person.login_failed").exists()
    provider.changes = {}
    sign_in(provider, client)
    assert who(client) == "tina"


def test_a_token_that_others_signed_lets_nobody_in(
    provider: Provider, cast: SimpleNamespace
) -> None:
    connect(provider, cast.tina)
    forgers = {
        "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "HS256": "between the two of us, and long enough for a key",
        "none": None,
    }
    for algorithm, key in forgers.items():
        provider.signs_with, provider.algorithm = key, algorithm
        refused(sign_in(provider, Client()))
    reasons = list(AuditEntry.objects.filter(action="person.login_failed").values_list("reason"))
    assert len(reasons) == 3 and "Signature verification failed" in reasons[-1][0]


def test_a_state_is_of_one_browser_and_works_once(
    provider: Provider, cast: SimpleNamespace
) -> None:
    connect(provider, cast.tina)
    client = Client()
    back = way_back(provider, client)
    query = {name: one[0] for name, one in parse_qs(urlsplit(back).query).items()}
    for wrong in ({**query, "state": "another"}, {"code": query["code"]}, {}):
        assert "not begun in this browser" in refused(client.get(CALLBACK, wrong))
    assert "not begun in this browser" in refused(Client().get(back))
    assert provider.codes, "nobody has redeemed the code"
    assert client.get(back).status_code == 302
    client.logout()
    assert "not begun in this browser" in refused(client.get(back))
    assert not AuditEntry.objects.filter(action="person.login_failed").exists(), (
        "who never began fills no log"
    )


def test_a_code_of_somebody_elses_sign_in_is_worth_nothing(
    provider: Provider, cast: SimpleNamespace
) -> None:
    """PKCE: the provider gives no token for a code that another browser had asked for."""
    connect(provider, cast.tina)
    stolen = parse_qs(urlsplit(way_back(provider, Client())).query)["code"][0]
    thief = Client()
    own = parse_qs(urlsplit(way_back(provider, thief)).query)
    answer = thief.get(f"{CALLBACK}?{urlencode({'code': stolen, 'state': own['state'][0]})}")
    assert "cannot be trusted" in refused(answer)
    assert who(thief) == ""


def test_a_person_who_declines_there_is_told_so(provider: Provider, db: None) -> None:
    client = Client()
    state = parse_qs(urlsplit(client.get(START).headers["Location"]).query)["state"][0]
    page = refused(client.get(CALLBACK, {"error": "access_denied", "state": state}))
    assert "Example did not sign you in" in page
    assert "access_denied" in AuditEntry.objects.get(action="person.login_failed").reason


@pytest.mark.parametrize(
    "discovery", [{"issuer": "https://evil.example.org"}, {"token_endpoint": 5}]
)
def test_a_provider_that_is_not_itself_is_not_gone_to(
    provider: Provider, db: None, discovery: dict[str, Any]
) -> None:
    provider.discovery = discovery
    client = Client()
    answer = client.get(START)
    if answer.status_code == 302:  # what is wrong shows only on the way back
        answer = client.get(provider.authorize(answer.headers["Location"]))
        refused(answer)
    else:
        assert answer.status_code == 502
        assert "does not answer as it should" in answer.content.decode()


def test_a_provider_that_is_away_is_said_to_be(provider: Provider, db: None, settings: Any) -> None:
    settings.FTPORTAL_OIDC_ISSUER = "http://127.0.0.1:1"
    answer = Client().get(START)
    assert answer.status_code == 502 and "does not answer" in answer.content.decode()


def test_discovery_is_asked_for_once_in_a_while(provider: Provider, cast: SimpleNamespace) -> None:
    for _ in range(3):
        Client().get(START)
    assert provider.requests == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example.org/", "//evil.example.org", "javascript:alert(1)"]
)
def test_nobody_is_sent_elsewhere(
    provider: Provider, cast: SimpleNamespace, elsewhere: str
) -> None:
    connect(provider, cast.tina)
    assert sign_in(provider, Client(), elsewhere).headers["Location"] == "/"


def test_a_session_of_the_provider_is_a_session_like_others(
    provider: Provider, cast: SimpleNamespace, client_of: Any
) -> None:
    connect(provider, cast.tina)
    client = Client()
    key_before = client.get(START) and client.session.session_key
    sign_in(provider, client)
    assert client.session.session_key != key_before
    assert 0 < client.session.get_expiry_age() <= 12 * 3600
    assert "no-store" in client.get("/").headers["Cache-Control"]
    client_of(cast.ada).post(reverse("accounts:person_sessions", args=[cast.tina.pk]))
    assert who(client) == ""


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("", ""),
        ("https://login.example.org/realms/x/", "https://login.example.org/realms/x"),
        ("http://localhost:8080", "http://localhost:8080"),
    ],
)
def test_an_issuer_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str, kept: str
) -> None:
    monkeypatch.setenv("AN_ISSUER", value)
    assert environment.issuer("AN_ISSUER") == kept


@pytest.mark.parametrize(
    "value", ["login.example.org", "http://login.example.org", "ftp://x", "https://x/?a=b"]
)
def test_an_issuer_that_cannot_be_meant_refuses_to_start(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("AN_ISSUER", value)
    with pytest.raises(ImproperlyConfigured, match="AN_ISSUER"):
        environment.issuer("AN_ISSUER")
