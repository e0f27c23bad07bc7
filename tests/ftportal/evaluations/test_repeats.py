"""A/A control: asked for by a person, kept beside the first, shown beside what changed."""

from typing import Any

import pytest

from ftportal.evaluations.models import Evaluation, Suite
from ftportal.evaluations.selectors import evaluation_of, noise_floor
from ftportal.evaluations.services import (
    EvaluationError,
    checkpoint_measure,
    evaluation_finish,
    evaluation_repeat,
    evaluation_request,
    follow_ups_sweep,
    verdicts_reach_possible,
)
from ftportal.jobs.models import Job, JobState
from tests.ftportal.evaluations.known import document_lines, output_write, sample_lines

FIRST = {"local_code": "1100", "local_language": "1010"}
SECOND = {"local_code": "1010", "local_language": "1010"}


@pytest.fixture
def twice(suite: Suite, bare_model: Any, measured: Any) -> Evaluation:
    """An anchor measured twice: one item lost and one gained by chance."""
    first = measured(bare_model.pretrained, FIRST)
    repeat = evaluation_repeat(evaluation=first, created_by=None)
    key = suite.held_out_sets.get().sha256
    output_write(repeat.job, sample_lines(SECOND), document_lines(key, 2.01))
    evaluation_finish(repeat.job)
    return first


def test_both_are_kept_and_only_the_first_counts(
    twice: Evaluation, suite: Suite, bare_model: Any
) -> None:
    assert Evaluation.with_repeats.count() == 2
    assert list(Evaluation.objects.all()) == [twice]
    assert evaluation_of(bare_model.pretrained, suite) == twice
    noise = noise_floor(suite, bare_model)
    assert noise is not None
    assert [(one.title, one.n, one.lost, one.gained) for one in noise.rows] == [
        ("Python code", 4, 1, 1),
        ("English", 4, 0, 0),
    ]
    assert (noise.n, noise.lost, noise.gained) == (8, 1, 1)
    assert noise.largest_change_percent == pytest.approx(1.005, abs=0.01)
    assert noise.repeat.samples.count() == 8
    follow_ups_sweep()
    assert Evaluation.with_repeats.count() == 2


def test_a_repeat_that_waits_is_not_asked_for_twice_and_a_third_can_be(
    twice: Evaluation, bare_model: Any
) -> None:
    third = evaluation_repeat(evaluation=twice, created_by=None)
    assert third.repeat == 2
    assert evaluation_repeat(evaluation=twice, created_by=None) == third
    Job.objects.filter(pk=third.job_id).update(state=JobState.FAILED)
    assert evaluation_repeat(evaluation=twice, created_by=None).repeat == 3


def test_only_what_is_measured_can_be_measured_again(suite: Suite, bare_model: Any) -> None:
    first = evaluation_request(checkpoint=bare_model.pretrained, suite=suite, created_by=None)
    with pytest.raises(EvaluationError, match="not measured yet"):
        evaluation_repeat(evaluation=first, created_by=None)


def test_another_model_and_another_suite_have_no_noise_floor_from_it(
    twice: Evaluation, suite: Suite, bare_model: Any, child_of: Any
) -> None:
    from tests.ftportal.evaluations.known import copy_of

    assert noise_floor(copy_of(suite), bare_model) is not None  # the same content
    other = copy_of(suite, name="Other", settings=suite.settings | {"seed": 1})
    assert noise_floor(other, bare_model) is None
    child = child_of(bare_model.pretrained, "child")
    assert noise_floor(suite, bare_model, child) is None


def test_pages_show_it_and_roles_are_checked(
    twice: Evaluation, bare_model: Any, child_of: Any, measured: Any, client_of: Any, cast: Any
) -> None:
    url = f"/evaluations/{twice.pk}/"
    page = client_of(cast.otto).get(url).content.decode()
    assert "Noise floor" in page and "Measure again" not in page
    repeat = Evaluation.with_repeats.get(repeat=1)
    answer = client_of(cast.otto).get(f"/evaluations/{repeat.pk}/")
    assert answer.status_code == 302 and answer["Location"] == url
    for user in (cast.otto, cast.rob, cast.leo):
        assert client_of(user).post(f"{url}again/").status_code == 403
    assert client_of(cast.tina).get(f"{url}again/").status_code == 405
    assert client_of(cast.tina).post(f"{url}again/").status_code == 302
    assert Evaluation.with_repeats.filter(repeat=2).exists()
    child = child_of(bare_model.pretrained, "child")
    verdicts_reach_possible(evaluation=measured(child, SECOND))
    report = client_of(cast.otto).get(f"/reports/{child.pk}/").content.decode()
    assert "measured twice, lost 1 and gained 1 of 8 items by chance alone" in report


def test_the_second_session_pays_for_its_candidate_only(
    suite: Suite, bare_model: Any, child_of: Any
) -> None:
    first = child_of(bare_model.pretrained, "first")
    checkpoint_measure(checkpoint=first, suite=suite, created_by=None)
    Job.objects.update(state=JobState.SUCCEEDED)
    Evaluation.objects.update(measured=True)
    second = child_of(first, "second")
    checkpoint_measure(checkpoint=second, suite=suite, created_by=None)
    waiting = Job.objects.filter(state=JobState.QUEUED)
    assert [job.title for job in waiting] == ["Measure second by Test suite"]
