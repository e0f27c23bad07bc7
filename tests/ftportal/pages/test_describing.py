"""Names can be changed; notes and tags stand beside them, find things, and are in the audit log."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from ftportal.audit.models import AuditEntry
from tests.ftportal.dashboard import world


@pytest.fixture
def contrast(cast: SimpleNamespace, data_dir: Any) -> SimpleNamespace:
    return world.contrast_make(cast)


def test_a_run_and_a_checkpoint_are_described(
    contrast: SimpleNamespace, client_of: Callable[..., Any]
) -> None:
    tina = client_of(contrast.cast.tina)
    for name, thing, listing in (
        ("runs:run_describe", contrast.careful, "runs:runs"),
        ("checkpoints:checkpoint_describe", contrast.careful.output, "checkpoints:checkpoints"),
    ):
        address = reverse(name, args=[thing.pk])
        assert str(thing) in tina.get(address).content.decode()
        typed = {"name": "Gentle", "note": "<b>For</b> the demo", "tags": "formal, first, formal"}
        reply = tina.post(address, typed, follow=True)
        page = reply.content.decode()
        assert "Gentle" in page and "&lt;b&gt;For&lt;/b&gt; the demo" in page
        thing.refresh_from_db()
        assert (thing.name, thing.tag_list) == ("Gentle", ["formal", "first"])
        assert "Gentle" in tina.get(reverse(listing), {"text": "first"}).content.decode()
        entry = AuditEntry.objects.latest("pk")
        assert entry.before["name"] == "Careful"
        assert entry.after["tags"] == "formal, first, formal"


def test_a_taken_name_keeps_what_was_typed(
    contrast: SimpleNamespace, client_of: Callable[..., Any]
) -> None:
    address = reverse("runs:run_describe", args=[contrast.careful.pk])
    typed = {"name": "Reckless", "note": "kept in the form", "tags": ""}
    entries = AuditEntry.objects.filter(action="run.described").count()
    reply = client_of(contrast.cast.tina).post(address, typed)
    page = reply.content.decode()
    assert reply.status_code == 422
    assert "has this name already" in page and "kept in the form" in page
    contrast.careful.refresh_from_db()
    assert (contrast.careful.name, contrast.careful.note) == ("Careful", "")
    assert AuditEntry.objects.filter(action="run.described").count() == entries


def test_nothing_changed_is_not_written_down(
    contrast: SimpleNamespace, client_of: Callable[..., Any]
) -> None:
    address = reverse("runs:run_describe", args=[contrast.careful.pk])
    entries = AuditEntry.objects.filter(action="run.described").count()
    client_of(contrast.cast.tina).post(address, {"name": "Careful", "note": "", "tags": ""})
    assert AuditEntry.objects.filter(action="run.described").count() == entries


def test_compare_finds_runs_by_name_and_tag(
    contrast: SimpleNamespace, client_of: Callable[..., Any]
) -> None:
    contrast.reckless.tags = "high rate"
    contrast.reckless.save()
    address = reverse("dashboard:compare")
    chosen = {"find": "high", "run": contrast.careful.pk}
    part = client_of(contrast.cast.otto).get(address, chosen, headers={"HX-Request": "true"})
    text = part.content.decode()
    assert "<html" not in text
    assert "Reckless" in text
    assert "checked> Careful" in text, "what was chosen stays chosen"
    nothing = client_of(contrast.cast.otto).get(address, {"find": "no such run"})
    assert "No run has “no such run”" in nothing.content.decode()
