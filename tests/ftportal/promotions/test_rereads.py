"""Champions, anchors and texts are read again: when, what is found, and who is told."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from ftportal.audit.models import AuditEntry
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.services import checkpoint_delete
from ftportal.datasets.models import HeldOutSet, Prompt, PromptSet
from ftportal.datasets.services import held_out_set_create
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.supervisor import job_run_now
from ftportal.promotions.models import Reread, RereadThing
from ftportal.promotions.reread_selectors import reread_notices
from ftportal.promotions.rereading import night_of
from ftportal.promotions.services import promote, reread_request, rereads_nightly
from tests.ftportal.house import checkpoint_make, prompts_make

WHAT_TO_DO = "Put the files back, then read them again."
NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def weights(checkpoint: Checkpoint) -> Path:
    return checkpoint.directory / "model.safetensors"


def age(days: float) -> None:
    """Let everything have been made so long ago."""
    then = timezone.now() - timedelta(days=days)
    for table in (LanguageModel, HeldOutSet, PromptSet):
        table.objects.update(created_at=then)


def night() -> list[Reread]:
    """What the sweep asks for, done by the real engine."""
    rereads_nightly()
    waiting = Reread.objects.filter(job__state=JobState.QUEUED).order_by("pk")
    done = [job_run_now(one.job).reread for one in waiting]
    for one in done:
        one.refresh_from_db()
    return done


@pytest.fixture
def crowned(ready: SimpleNamespace, cast: SimpleNamespace) -> SimpleNamespace:
    """The candidate is champion; a text and prompts measure; all of it is a day old."""
    promote(checkpoint=ready.candidate, actor=cast.leo, reason="better")
    held_out_set_create(name="Prose", domain="prose", source="here", documents=["Some words."])
    age(days=1)
    return ready


@pytest.mark.parametrize(
    ("now", "hour", "began"),
    [
        (NOON, 3, datetime(2026, 5, 3, 3, tzinfo=UTC)),
        (NOON.replace(hour=2, minute=59), 3, datetime(2026, 5, 2, 3, tzinfo=UTC)),
        (NOON.replace(hour=3), 3, datetime(2026, 5, 3, 3, tzinfo=UTC)),
        (NOON, 0, datetime(2026, 5, 3, 0, tzinfo=UTC)),
        (NOON, 23, datetime(2026, 5, 2, 23, tzinfo=UTC)),
    ],
)
def test_a_night_begins_at_its_hour(
    settings: Any, now: datetime, hour: int, began: datetime
) -> None:
    settings.FTPORTAL_REREAD_HOUR = hour
    assert night_of(now) == began


def test_each_night_once_however_often_beat_starts(
    crowned: SimpleNamespace, monkeypatch: Any
) -> None:
    now = timezone.now()
    for hours, expected in ((0, 2), (1 / 3600, 2), (24, 4), (72, 6)):
        monkeypatch.setattr(timezone, "now", lambda hours=hours: now + timedelta(hours=hours))
        rereads_nightly()
        rereads_nightly()
        assert Reread.objects.count() == expected  # one of the model, one of the texts
    titles = set(Job.objects.filter(kind="reread").values_list("title", flat=True))
    assert titles == {
        "Read champion and anchor of Small again",
        "Read the texts that measure again",
    }


def test_what_was_made_this_night_is_read_the_next(ready: SimpleNamespace) -> None:
    rereads_nightly()
    assert Reread.objects.count() == 0


def test_two_sweeps_at_once_ask_once(crowned: SimpleNamespace, monkeypatch: Any) -> None:
    """The second one does not see yet what the first one has asked for."""
    rereads_nightly()
    blind = Reread.objects.none()
    with monkeypatch.context() as patched:
        patched.setattr(Reread.objects, "filter", lambda **_: blind)
        rereads_nightly()
    assert Reread.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_sound_night_says_so(
    crowned: SimpleNamespace, cast: SimpleNamespace, client_of: Any
) -> None:
    of_model, of_texts = night()
    assert [one.what for one in of_model.things.all()] == [
        "checkpoint Small, pre-trained",
        "checkpoint Zebra nine",
    ]
    assert {one.what.split()[0] for one in of_texts.things.all()} == {"held-out", "prompts"}
    assert not RereadThing.objects.exclude(problem="").exists()
    assert reread_notices() == []
    url = reverse("promotions:reread_panel", args=[crowned.candidate.pk])
    panel = client_of(cast.otto).get(url).content.decode()
    assert "Unchanged" in panel and "All files were read again" in panel
    assert "Re-read now" not in panel
    assert not AuditEntry.objects.filter(action="files.differ").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("whose", ["candidate", "baseline"])
def test_a_flipped_byte_is_named_on_home_on_the_page_and_in_the_audit_log(
    crowned: SimpleNamespace, cast: SimpleNamespace, client_of: Any, whose: str
) -> None:
    checkpoint = getattr(crowned, whose)
    flip(weights(checkpoint))
    night()
    (notice,) = reread_notices()
    assert str(checkpoint) in notice.headline
    assert "model.safetensors was changed" in notice.text
    assert ("roll back" in notice.text) == (whose == "candidate")
    client = client_of(cast.otto)
    assert notice.headline in client.get("/").content.decode()
    url = reverse("promotions:reread_panel", args=[checkpoint.pk])
    assert "model.safetensors was changed" in client.get(url).content.decode()
    row = AuditEntry.objects.get(action="files.differ")
    assert (row.target_name, row.actor) == (str(checkpoint), None)
    assert "model.safetensors" in row.after["problem"]


@pytest.mark.django_db(transaction=True)
def test_it_is_audited_once_and_forgotten_when_mended(
    crowned: SimpleNamespace, cast: SimpleNamespace, monkeypatch: Any
) -> None:
    now = timezone.now()
    flip(weights(crowned.candidate))
    night()
    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(days=1))
    night()
    assert AuditEntry.objects.filter(action="files.differ").count() == 1
    assert len(reread_notices()) == 1
    flip(weights(crowned.candidate))
    job_run_now(reread_request(checkpoint=crowned.candidate, asked_by=cast.ada).job)
    assert reread_notices() == []


@pytest.mark.django_db(transaction=True)
def test_a_candidate_that_has_changed_is_not_said_to_be_intact(
    ready: SimpleNamespace, cast: SimpleNamespace, client_of: Any
) -> None:
    """Its files are as long as ever, which is all that a page has the time to look at."""
    flip(weights(ready.candidate))
    job_run_now(reread_request(checkpoint=ready.candidate, asked_by=cast.ada).job)
    page = client_of(cast.leo).get(reverse("promotions:promotions")).content.decode()
    assert WHAT_TO_DO in page and "Promote to champion" not in page
    url = reverse("promotions:checkpoint_panel", args=[ready.candidate.pk])
    assert WHAT_TO_DO in client_of(cast.otto).get(url).content.decode()
    flip(weights(ready.candidate))
    job_run_now(reread_request(checkpoint=ready.candidate, asked_by=cast.ada).job)
    page = client_of(cast.leo).get(reverse("promotions:promotions")).content.decode()
    assert WHAT_TO_DO not in page and "Promote to champion" in page


@pytest.mark.django_db(transaction=True)
def test_texts_and_prompts_are_read_too(crowned: SimpleNamespace) -> None:
    flip(HeldOutSet.objects.get().path)
    prompt = Prompt.objects.filter(prompt_set=prompts_make(2, name="Late")).get(position=2)
    Prompt.objects.filter(pk=prompt.pk).update(messages=[{"role": "user", "content": "Other?"}])
    night()
    told = {one.headline: one.text for one in reread_notices()}
    assert "its SHA-256" in told["The held-out text Prose is not what it was."]
    assert "Prompt 2 was changed" in told["The prompts Late differ from what was kept."]


@pytest.mark.django_db(transaction=True)
def test_home_says_when_nothing_was_read_for_two_days(
    crowned: SimpleNamespace, cast: SimpleNamespace, client_of: Any, monkeypatch: Any
) -> None:
    assert reread_notices() == []  # all is a day old, and was hashed when it came
    age(days=3)
    (late,) = reread_notices()
    assert "champion and anchor of Small, the texts that measure" in late.headline
    assert "more than 48 hours" in client_of(cast.otto).get("/").content.decode()
    night()
    assert reread_notices() == []
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(hours=49))
    assert len(reread_notices()) == 1


@pytest.mark.django_db(transaction=True)
def test_a_reading_that_failed_is_none(crowned: SimpleNamespace) -> None:
    age(days=3)
    rereads_nightly()
    Job.objects.update(state=JobState.FAILED)
    assert len(reread_notices()) == 1


@pytest.mark.django_db(transaction=True)
def test_an_administrator_has_one_read_now(
    crowned: SimpleNamespace, cast: SimpleNamespace, client_of: Any
) -> None:
    other = checkpoint_make(crowned.model, "Other", crowned.baseline)
    panel, ask = (reverse(f"promotions:{name}", args=[other.pk]) for name in PLACES)
    client = client_of(cast.ada)
    body = client.get(panel).content.decode()
    assert "Not read again since it was made" in body and "Re-read now" in body
    answer = client.post(ask)
    assert answer["Location"] == reverse("checkpoints:checkpoint", args=[other.pk]) + "#files"
    client.post(ask)  # who asks twice gets the same one
    (asked,) = Reread.objects.all()
    assert "are being read again" in client.get(panel).content.decode()
    assert AuditEntry.objects.get(action="files.reread").actor == cast.ada
    weights(other).unlink()
    job_run_now(asked.job)
    assert "model.safetensors is missing" in client.get(panel).content.decode()
    assert AuditEntry.objects.get(action="files.differ").actor == cast.ada
    assert reread_notices() == []  # it is neither champion nor anchor


PLACES = ("reread_panel", "reread")


@pytest.mark.django_db(transaction=True)
def test_files_that_were_deleted_meanwhile_do_not_differ(
    crowned: SimpleNamespace, cast: SimpleNamespace, client_of: Any
) -> None:
    other = checkpoint_make(crowned.model, "Other", crowned.baseline)
    asked = reread_request(checkpoint=other, asked_by=cast.ada)
    checkpoint_delete(checkpoint=other)
    job_run_now(asked.job)
    assert not RereadThing.objects.exists()
    page = client_of(cast.ada).post(reverse("promotions:reread", args=[other.pk]), follow=True)
    assert "Nothing is left to read" in page.content.decode()
