"""A run's page opens with what it learned and what it cost."""

from types import SimpleNamespace
from typing import Any

from django.urls import reverse

from ftportal.dashboard.selectors.outcome import outcome_of
from tests.ftportal.dashboard import world


def test_it_says_both_in_words(contrast: SimpleNamespace, client_of: Any) -> None:
    for checkpoint, nats in (
        (contrast.anchor, [20.0] * 4),
        (contrast.reckless.output, [6.0, 7.0, 7.5, 7.5]),
    ):
        world.retention_make(checkpoint=checkpoint, batch=contrast.answers, nats=nats)
    outcome = outcome_of(contrast.reckless)
    assert outcome is not None
    assert outcome.learned.startswith(
        "It learned what it was taught: examples set aside from Answers became less "
        "surprising by 1.30 nats a decision token (95 % interval +"
    )
    assert outcome.verdict == contrast.verdict_reckless
    assert outcome.cost == contrast.verdict_reckless.reason.splitlines()[0]
    address = reverse("dashboard:run_outcome", args=[contrast.reckless.pk])
    page = client_of(contrast.cast.otto).get(address).content.decode()
    assert "Forgotten" in page
    assert "hx-get" not in page, "nothing is being measured"
    whole = client_of(contrast.cast.otto).get(reverse("runs:run", args=[contrast.reckless.pk]))
    assert f'hx-get="{address}"' in whole.content.decode()


def test_what_is_not_clear_is_not_called_learned(contrast: SimpleNamespace) -> None:
    for checkpoint, nats in (
        (contrast.anchor, [20.0] * 4),
        (contrast.reckless.output, [14.0, 28.0, 12.0, 24.0]),
    ):
        world.retention_make(checkpoint=checkpoint, batch=contrast.answers, nats=nats)
    outcome = outcome_of(contrast.reckless)
    assert outcome is not None
    assert outcome.learned.startswith("Whether it learned is not clear: examples set aside from")


def test_what_is_missing_is_named(contrast: SimpleNamespace) -> None:
    careful = outcome_of(contrast.careful)
    assert careful is not None
    why = "not measured on its own held-out examples yet"
    assert careful.learned == f"What it learned is not known: {why}."
    bare = world.run_make(name="Bare", parent=contrast.anchor, mixture=[(contrast.answers, 1)])
    fresh = outcome_of(bare)
    assert fresh is not None
    assert fresh.verdict is None
    assert fresh.cost == "What it cost was not measured yet."
    evaluation = world.evaluation_make(
        checkpoint=world.output_of(bare), suite=contrast.suite, right={}, nll={}
    )
    evaluation.measured = False
    evaluation.save()
    evaluation.job.state = "running"
    evaluation.job.save()
    awaited = outcome_of(bare)
    assert awaited is not None
    assert awaited.cost == "What it cost is being measured."
    assert awaited.jobs == [evaluation.job]


def test_a_run_without_a_checkpoint_has_no_outcome(
    contrast: SimpleNamespace, client_of: Any
) -> None:
    failed = world.run_make(name="Failed", parent=contrast.anchor, state="failed")
    assert outcome_of(failed) is None
    address = reverse("dashboard:run_outcome", args=[failed.pk])
    assert client_of(contrast.cast.otto).get(address).status_code == 404
