"""The page of a checkpoint's blends, the curve on it, and where it is reached from."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from ftportal.blends.models import Blend
from ftportal.blends.selectors import sessions_learned
from ftportal.checkpoints.models import Checkpoint
from ftportal.dashboard.blend_figures import blend_charts
from ftportal.dashboard.selectors.blending import curve_of
from ftportal.dashboard.selectors.lineage import tree
from ftportal.evaluations.models import Evaluation
from ftportal.evaluations.services import follow_ups_sweep
from ftportal.evaluations.services.follow_ups import on_blend_succeeded
from ftportal.evaluations.services.retention import retention_request
from ftportal.reviews.selectors import checkpoint_submitter
from tests.ftportal.dashboard import world

pytestmark = pytest.mark.slow


@pytest.fixture
def contrast(cast: SimpleNamespace, data_dir: Any) -> SimpleNamespace:
    return world.contrast_make(cast)


def address(checkpoint: Any) -> str:
    return reverse("blends:blends", args=[checkpoint.pk])


def blend_made(contrast: SimpleNamespace, alpha: float, **measured: Any) -> Blend:
    """A blend of the reckless session, done; measured where outcomes are given."""
    candidate = contrast.reckless.output
    made = world.checkpoint_make(
        name=f"{candidate} {alpha}", parent=candidate.parent, displacement=21.5 * alpha
    )
    blend = Blend.objects.create(
        candidate=candidate,
        alpha=alpha,
        result=made,
        job=world.job_make(title="Blend", kind="blend"),
        submitter=contrast.cast.tina,
    )
    if measured:
        after = world.evaluation_make(checkpoint=made, suite=contrast.suite, **measured)
        world.judged(contrast.evaluation_before, after)
    return blend


HALF = {
    "right": {"local_code": [0] * 2 + [1] * 6 + [0] * 2, "local_language": world.BEFORE},
    "nll": {"Manual": [202.0 + i / 10 for i in range(10)], "Library": [200.0] * 10},
}


def test_a_trainer_asks_for_blends(contrast: SimpleNamespace, client_of: Any) -> None:
    client = client_of(contrast.cast.tina)
    page = client.get(address(contrast.reckless.output)).content.decode()
    assert 'value="25, 50, 75"' in page and "nothing is trained again" in page
    answer = client.post(address(contrast.reckless.output), {"percents": "10 %, 12.5;50"})
    assert answer.status_code == 302
    assert [one.alpha for one in Blend.objects.all()] == [0.1, 0.125, 0.5]
    assert Blend.objects.first().submitter == contrast.cast.tina  # type: ignore[union-attr]
    page = client.get(address(contrast.reckless.output)).content.decode()
    assert "Being made" in page and "12.5 % blend" in page
    again = client.post(address(contrast.reckless.output), {"percents": "50"}, follow=True)
    assert "1 blend waits" in again.content.decode()


def test_the_address_prefills_the_form(contrast: SimpleNamespace, client_of: Any) -> None:
    url = address(contrast.reckless.output) + "?percents=40"
    assert 'value="40"' in client_of(contrast.cast.tina).get(url).content.decode()


@pytest.mark.parametrize("text", ["", "0", "100", "50, 150", "half", "nan", "1" * 90])
def test_what_is_no_percentage_is_refused_at_its_field(
    contrast: SimpleNamespace, client_of: Any, text: str
) -> None:
    url = address(contrast.reckless.output)
    answer = client_of(contrast.cast.tina).post(url, {"percents": text})
    assert answer.status_code == 422
    assert b"error-text" in answer.content
    assert not Blend.objects.exists()


def test_a_refusal_is_said_at_the_field(contrast: SimpleNamespace, client_of: Any) -> None:
    Checkpoint.objects.filter(pk=contrast.anchor.pk).update(deleted_at=timezone.now())
    url = address(contrast.reckless.output)
    answer = client_of(contrast.cast.tina).post(url, {"percents": "50"})
    assert answer.status_code == 422 and b"were deleted" in answer.content
    assert (
        b"A blend needs the weights of both ends" in client_of(contrast.cast.otto).get(url).content
    )


def test_others_may_look_but_not_blend(contrast: SimpleNamespace, client_of: Any) -> None:
    url = address(contrast.reckless.output)
    for person in (contrast.cast.otto, contrast.cast.rob, contrast.cast.leo):
        client = client_of(person)
        assert b"A trainer can make blends" in client.get(url).content
        assert client.post(url, {"percents": "50"}).status_code == 403
    assert not Blend.objects.exists()


def test_outsiders_log_in_and_other_methods_are_refused(
    contrast: SimpleNamespace, client: Any, client_of: Any
) -> None:
    assert client.get(address(contrast.reckless.output)).status_code == 302
    assert client_of(contrast.cast.tina).put(address(contrast.reckless.output)).status_code == 405
    panels = ("blends:origin", "dashboard:blend_curve")
    for panel in panels:
        url = reverse(panel, args=[contrast.reckless.output.pk])
        assert client.get(url).status_code == 302
        assert client_of(contrast.cast.otto).post(url).status_code == 405


def test_the_anchor_says_that_there_is_nothing_to_go_back_to(
    contrast: SimpleNamespace, client_of: Any
) -> None:
    client = client_of(contrast.cast.tina)
    assert b"There is nothing to go back to" in client.get(address(contrast.anchor)).content
    curve = reverse("dashboard:blend_curve", args=[contrast.anchor.pk])
    assert client.get(curve).status_code == 404


def test_a_blends_checkpoint_says_what_it_is(contrast: SimpleNamespace, client_of: Any) -> None:
    blend = blend_made(contrast, 0.5)
    client = client_of(contrast.cast.otto)
    assert blend.result is not None
    text = client.get(reverse("blends:origin", args=[blend.result_id])).content.decode()
    assert "50 % of the way" in text and "Reckless" in text
    panel = client.get(reverse("runs:checkpoint_panel", args=[blend.result_id])).content.decode()
    assert reverse("blends:origin", args=[blend.result_id]) in panel
    report = client.get(reverse("evaluations:report", args=[blend.result_id])).content.decode()
    assert address(contrast.reckless.output) in report
    node = next(one for one in tree(contrast.model) if one.checkpoint == blend.result)
    assert node.blend == blend
    assert b"blend of Reckless" in client.get(reverse("dashboard:lineage")).content


def test_the_curve_goes_from_parent_to_candidate(contrast: SimpleNamespace, client_of: Any) -> None:
    blend_made(contrast, 0.5, **HALF)
    blend_made(contrast, 0.75)
    curve = curve_of(contrast.reckless.output)
    assert [one.alpha for one in curve.points] == [0.0, 0.5, 0.75, 1.0]
    assert [one.alpha for one in curve.measured] == [0.0, 0.5, 1.0]
    answers, perplexity = blend_charts(curve)
    assert [row[:2] for row in answers.rows] == [["0", "0"], ["50", "-10"], ["100", "-35"]]
    assert {row[-1] for row in answers.rows if row[0] != "50"} == {"-20"}
    assert list(perplexity.columns)[1:] == ["Manual", "Library", "Allowed"]
    url = reverse("dashboard:blend_curve", args=[contrast.reckless.output.pk])
    text = client_of(contrast.cast.otto).get(url).content.decode()
    assert "2 lost, 0 gained" in text and "not judged yet" in text
    assert "Inconclusive" in text or "Retained" in text


def test_what_is_kept_of_the_session_is_drawn_too(
    contrast: SimpleNamespace, client_of: Any
) -> None:
    """Of 20 nats on ten tokens the candidate needs 5 and the half-way blend 8."""
    blend = blend_made(contrast, 0.5, **HALF)
    assert blend.result is not None
    for one, nats in (
        (contrast.anchor, 20.0),
        (blend.result, 8.0),
        (contrast.reckless.output, 5.0),
    ):
        world.retention_make(checkpoint=one, batch=contrast.answers, nats=[nats] * 4)
    curve = curve_of(contrast.reckless.output)
    assert [one.gain.value for one in curve.points if one.gain] == pytest.approx([0.0, 1.2, 1.5])
    gain, _, _ = blend_charts(curve)
    assert list(gain.rows) == [["0", "0"], ["50", "1.2"], ["100", "1.5"]]
    url = reverse("dashboard:blend_curve", args=[contrast.reckless.output.pk])
    assert "+1.200" in client_of(contrast.cast.otto).get(url).content.decode()


def test_a_blend_is_asked_what_it_kept_of_its_candidates_session(contrast: SimpleNamespace) -> None:
    blend = blend_made(contrast, 0.5)
    assert blend.result is not None
    child = world.checkpoint_make(name="Blend of a blend", parent=contrast.anchor)
    Blend.objects.create(
        candidate=blend.result, alpha=0.5, result=child, job=world.job_make(title="B", kind="blend")
    )
    for one in (blend.result, child):
        (learned,) = sessions_learned(one)
        assert (learned.batch, learned.run) == (contrast.answers, contrast.reckless)
    assert sessions_learned(contrast.anchor) == []
    asked = retention_request(checkpoint=blend.result, suite=contrast.suite, created_by=None)
    assert {one.checkpoint for one in asked} == {blend.result, contrast.anchor}


def test_without_two_measurements_there_is_no_curve(contrast: SimpleNamespace) -> None:
    fresh = world.checkpoint_make(name="Fresh", parent=contrast.careful.output)
    assert blend_charts(curve_of(fresh)) == []


def test_a_blend_is_measured_by_itself_and_found_by_the_sweep(contrast: SimpleNamespace) -> None:
    for held_out in contrast.suite.held_out_sets.all():
        held_out.path.parent.mkdir(exist_ok=True)
        held_out.path.touch()
    first, second = blend_made(contrast, 0.25), blend_made(contrast, 0.5)
    on_blend_succeeded(blend=first)
    assert Evaluation.objects.filter(checkpoint=first.result).count() == 1
    assert not Evaluation.objects.filter(checkpoint=second.result).exists()
    follow_ups_sweep()
    asked = Evaluation.objects.get(checkpoint=second.result)
    assert asked.job.created_by == contrast.cast.tina


def test_whoever_asked_for_a_blend_does_not_review_it(contrast: SimpleNamespace) -> None:
    blend = blend_made(contrast, 0.5)
    assert blend.result is not None
    assert checkpoint_submitter(blend.result) == contrast.cast.tina


def test_the_curve_costs_a_fixed_number_of_queries(
    contrast: SimpleNamespace, client_of: Any, django_assert_max_num_queries: Any
) -> None:
    for percent in range(1, 9):
        blend_made(contrast, percent / 10, **HALF)
    url = reverse("dashboard:blend_curve", args=[contrast.reckless.output.pk])
    client = client_of(contrast.cast.otto)
    with django_assert_max_num_queries(18):
        assert client.get(url).status_code == 200
