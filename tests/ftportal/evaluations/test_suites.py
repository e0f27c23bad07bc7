"""Suites: content, versions, what makes one impossible, and what a new portal starts with."""

from typing import Any

import pytest

from ftportal.evaluations.models import Suite
from ftportal.evaluations.services import (
    EvaluationError,
    evaluation_request,
    evaluations_seed,
)
from ftportal.evaluations.services.suites import suite_check
from ftportal.jobs.models import Job
from tests.ftportal.evaluations.known import (
    copy_of,
)


def test_a_content_hash_covers_content_and_nothing_else(suite: Suite) -> None:
    assert copy_of(suite, name="Other name").content_hash == suite.content_hash
    fewer = [{**suite.benchmarks[0], "limit": 3}, suite.benchmarks[1]]
    assert copy_of(suite, name="A", benchmarks=fewer).content_hash != suite.content_hash
    assert copy_of(suite, name="B", held_out_sets=[]).content_hash != suite.content_hash
    bf16 = suite.settings | {"dtype": "bfloat16"}
    assert copy_of(suite, name="C", settings=bf16).content_hash != suite.content_hash


def test_versions_of_a_suite_count_up_and_never_change(suite: Suite) -> None:
    second = copy_of(suite, name=suite.name)
    assert second.version == 2 and str(second) == "Test suite, version 2"
    with pytest.raises(EvaluationError, match="exists and never changes"):
        copy_of(suite, name=suite.name, version=1)


def test_there_is_one_default_suite(suite: Suite) -> None:
    other = copy_of(suite, name="Other", is_default=True)
    assert list(Suite.objects.filter(is_default=True)) == [other]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmarks": [{"name": "local_nothing", "source": "local"}]}, "no benchmark called"),
        ({"benchmarks": [{"name": "local_code", "source": "local", "limit": 9999}]}, "9999"),
        ({"settings": {"windows": 3}}, "no setting windows"),
    ],
)
def test_an_impossible_suite_is_refused(suite: Suite, changes: Any, message: str) -> None:
    with pytest.raises(EvaluationError, match=message) as refusal:
        copy_of(suite, **changes)
    assert refusal.value.cure


def test_a_suite_whose_items_have_changed_is_refused(suite: Suite, bare_model: Any) -> None:
    suite.benchmarks[0]["content_hash"] = "0" * 64
    suite.save()
    with pytest.raises(EvaluationError, match="items of local_code have changed") as refusal:
        evaluation_request(checkpoint=bare_model.pretrained, suite=suite, created_by=None)
    assert "new version" in refusal.value.cure
    assert not Job.objects.exists()


def test_a_suite_whose_documents_are_gone_is_refused(suite: Suite) -> None:
    suite.held_out_sets.get().path.unlink()
    with pytest.raises(EvaluationError, match="Test prose are missing"):
        suite_check(suite)


@pytest.mark.slow
def test_the_seed_makes_two_suites_once(data_dir: Any, db: None) -> None:
    quick = evaluations_seed()
    assert evaluations_seed() == quick and Suite.objects.count() == 2
    assert quick.is_default and quick.item_count == 60
    assert {one.domain for one in quick.held_out_sets.all()} == {"prose", "code"}
    full = Suite.objects.get(is_default=False)
    assert full.item_count > 300 and full.rule != quick.rule
    suite_check(quick)
