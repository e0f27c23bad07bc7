"""The list of jobs, the progress fragment, and the buttons."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from ftportal.jobs import registry
from ftportal.jobs.leases import job_claim
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.services import job_submit

HTMX = {"HX-Request": "true"}


@pytest.fixture
def job(cast: SimpleNamespace, counting: Any) -> Job:
    """A queued job that Otto, who has no role, asked for."""
    return job_submit(kind="count", title="Count to ten", created_by=cast.otto)


def progress(job: Job) -> str:
    return reverse("jobs:progress", args=[job.pk])


def set_job(job: Job, **fields: Any) -> None:
    Job.objects.filter(pk=job.pk).update(**fields)


def test_it_lists_jobs(job: Job, client_of: Callable[..., Client], cast: Any) -> None:
    page = client_of(cast.rob).get(reverse("jobs:jobs")).content.decode()
    assert "Count to ten" in page and "Next in the queue" in page and "Otto" in page
    assert str(job.pk) not in page.replace(f"/jobs/{job.pk}/", ""), "no raw id to read"


def test_it_filters_and_says_when_nothing_fits(
    job: Job, client_of: Callable[..., Client], cast: Any
) -> None:
    client = client_of(cast.rob)
    for query, names in (
        ("?state=live", True), ("?kind=count", True), ("?text=TEN", True),
        ("?state=failed", False), ("?kind=train", False), ("?text=twelve", False),
    ):  # fmt: skip
        page = client.get(reverse("jobs:jobs") + query).content.decode()
        assert ("Count to ten" in page) is names, query
        assert ("No job fits" in page) is not names, query


def test_it_says_what_to_do_when_there_is_no_job(
    counting: Any, client_of: Callable[..., Client], cast: Any
) -> None:
    page = client_of(cast.tina).get(reverse("jobs:jobs")).content.decode()
    assert "No job yet" in page and reverse("datasets:batch_new") in page
    page = client_of(cast.rob).get(reverse("jobs:jobs")).content.decode()
    assert "A trainer can do both" in page and reverse("datasets:batch_new") not in page


def test_the_list_polls_with_a_fragment_while_a_job_lives(
    job: Job, client_of: Callable[..., Client], cast: Any
) -> None:
    client = client_of(cast.rob)
    fragment = client.get(reverse("jobs:jobs"), headers=HTMX).content.decode()
    assert "<html" not in fragment and 'hx-trigger="every 2s"' in fragment
    restored = {**HTMX, "HX-History-Restore-Request": "true"}
    assert "<html" in client.get(reverse("jobs:jobs"), headers=restored).content.decode()
    set_job(job, state=JobState.SUCCEEDED, finish_handled=True)
    assert "every 2s" not in client.get(reverse("jobs:jobs"), headers=HTMX).content.decode()


@pytest.mark.parametrize("name", ["jobs", "progress", "stop", "resume"])
def test_nothing_is_seen_without_a_login(job: Job, client: Client, name: str) -> None:
    address = reverse(f"jobs:{name}", args=[] if name == "jobs" else [job.pk])
    assert client.get(address).headers["Location"].startswith(reverse("accounts:login"))
    assert client.post(address).status_code == 302


def test_wrong_methods_are_refused(job: Job, client_of: Callable[..., Client], cast: Any) -> None:
    client = client_of(cast.tina)
    assert client.post(reverse("jobs:jobs")).status_code == 405
    assert client.post(progress(job)).status_code == 405
    for name in ("stop", "resume"):
        assert client.get(reverse(f"jobs:{name}", args=[job.pk])).status_code == 405


@pytest.mark.parametrize(("who", "status"), [("tina", 200), ("otto", 200), ("rob", 403)])
def test_trainers_and_the_one_who_asked_stop_and_start_it_again(
    job: Job, client_of: Callable[..., Client], cast: Any, who: str, status: int
) -> None:
    client = client_of(getattr(cast, who))
    assert ("Stop</button>" in client.get(progress(job)).content.decode()) is (status == 200)
    stopped = client.post(reverse("jobs:stop", args=[job.pk]), headers=HTMX)
    assert stopped.status_code == status
    job.refresh_from_db()
    assert job.state == (JobState.CANCELLED if status == 200 else JobState.QUEUED)
    if status == 200:
        set_job(job, finish_handled=True)
        assert "Start again" in client.get(progress(job)).content.decode()
        assert client.post(reverse("jobs:resume", args=[job.pk])).status_code == 302
        job.refresh_from_db()
        assert job.state == JobState.QUEUED


def test_what_ended_for_good_is_not_started_again(
    job: Job, client_of: Callable[..., Client], cast: Any, counting: Any
) -> None:
    registry.register(replace(counting.kind(), final_exit_codes=frozenset({3})))
    client = client_of(cast.tina)
    resume = reverse("jobs:resume", args=[job.pk])
    set_job(job, state=JobState.FAILED, exit_code=3, finish_handled=True)
    assert "Start again" not in client.get(progress(job)).content.decode()
    client.post(resume)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    set_job(job, exit_code=1)
    assert "Start again" in client.get(progress(job)).content.decode()
    client.post(resume)
    job.refresh_from_db()
    assert job.state == JobState.QUEUED


def test_a_form_without_htmx_comes_back_to_its_own_site_only(
    job: Job, client_of: Callable[..., Client], cast: Any
) -> None:
    client = client_of(cast.tina)
    stop = reverse("jobs:stop", args=[job.pk])
    own = client.post(stop, headers={"Referer": "http://testserver/runs/1/"})
    assert own.headers["Location"] == "http://testserver/runs/1/"
    other = client.post(stop, headers={"Referer": "http://elsewhere.example/"})
    assert other.headers["Location"] == reverse("jobs:jobs")


def test_the_fragment_shows_progress_and_polls_until_the_result_is_there(
    job: Job, client_of: Callable[..., Client], cast: Any
) -> None:
    client = client_of(cast.rob)
    job_claim(job_id=job.pk)
    set_job(
        job, state=JobState.RUNNING, phase="Training", progress_done=3, progress_total=10,
        progress_unit="steps", seconds_left=130,
    )  # fmt: skip
    page = client.get(progress(job), headers=HTMX)
    text = page.content.decode()
    for words in ("Training", "3 of 10 steps", "about 2 min 10 s left", 'value="0.3000"'):
        assert words in text
    assert "every 2s" in text and "HX-Refresh" not in page.headers

    set_job(job, state=JobState.SUCCEEDED, finished_at=Now())
    page = client.get(progress(job), headers=HTMX)
    assert "being put in place" in page.content.decode() and "HX-Refresh" not in page.headers
    set_job(job, finish_handled=True)
    page = client.get(progress(job), headers=HTMX)
    assert page.headers["HX-Refresh"] == "true" and "every 2s" not in page.content.decode()


def test_the_fragment_tells_of_a_vanished_worker(
    job: Job, client_of: Callable[..., Client], cast: Any
) -> None:
    job_claim(job_id=job.pk)
    set_job(job, state=JobState.RUNNING, lease_until=Now() + timedelta(seconds=20))
    text = client_of(cast.rob).get(progress(job)).content.decode()
    assert "waits for its lease to end" in text
    assert re.search(r"4\d s ago", text)  # 40, and what the page itself took


def test_the_fragment_says_when_nobody_listens_and_what_is_ahead(
    job: Job, client_of: Callable[..., Client], cast: Any
) -> None:
    client = client_of(cast.rob)
    set_job(job, queued_at=Now() - timedelta(minutes=5))
    text = client.get(progress(job)).content.decode()
    assert "No worker seems to be listening" in text and "evaluate,train" in text
    later = job_submit(kind="count", title="Count further", created_by=None)
    set_job(later, queued_at=Now() - timedelta(minutes=4))
    assert "No worker" in client.get(progress(later)).content.decode()
    job_claim(job_id=job.pk)
    text = client.get(progress(later)).content.decode()
    assert "Next in the queue; “Count to ten” is being done" in text
    third = job_submit(kind="count", title="Count on", created_by=None)
    assert "Number 2 in the queue" in client.get(progress(third)).content.decode()


def test_the_fragment_escapes_what_an_engine_said(
    job: Job, client_of: Callable[..., Client], cast: Any
) -> None:
    set_job(
        job, state=JobState.FAILED, finish_handled=True, error_where="step 3",
        error_message="<script>bad()</script>\nsecond line", error_cure="Take <another>.",
    )  # fmt: skip
    text = client_of(cast.rob).get(progress(job)).content.decode()
    assert "&lt;script&gt;bad()" in text and "<br>second line" in text
    assert "Take &lt;another&gt;." in text and "It failed: step 3" in text
