"""What a suite leaves open is found once a model, and taken over by all that is compared."""

from collections.abc import Callable
from typing import Any

import pytest

from evaluation.config import config_from_json
from ftportal.checkpoints.models import Checkpoint
from ftportal.evaluations.kind import engine_config
from ftportal.evaluations.measurement import settings_rows
from ftportal.evaluations.models import Evaluation, Suite
from ftportal.evaluations.selectors import pinned_fields
from ftportal.evaluations.services import (
    EvaluationError,
    evaluation_finish,
    evaluation_repeat,
    evaluation_request,
    verdict_reach,
)
from tests.ftportal.evaluations.known import copy_of, document_lines, output_write, sample_lines

MARKS = {"local_code": "1100", "local_language": "1010"}
FOUND = {"dtype": "bfloat16", "batch_size": 32, "device": "cuda", "weights_on": "one GPU"}


@pytest.fixture
def found(suite: Suite) -> Callable[..., Evaluation]:
    """`found(checkpoint, **settings)`: measured, by what the engine found on its GPU."""

    def make(checkpoint: Checkpoint, **settings: Any) -> Evaluation:
        evaluation = evaluation_request(checkpoint=checkpoint, suite=suite, created_by=None)
        key = suite.held_out_sets.get().sha256
        fields = FOUND | settings
        output_write(evaluation.job, sample_lines(MARKS), document_lines(key, 2.0), **fields)
        evaluation_finish(evaluation.job)
        evaluation.refresh_from_db()
        return evaluation

    return make


def asked(checkpoint: Checkpoint, suite: Suite) -> Evaluation:
    return evaluation_request(checkpoint=checkpoint, suite=suite, created_by=None)


def test_the_first_of_a_model_finds_and_the_next_takes_over(
    suite: Suite, bare_model: Any, child_of: Any, found: Any
) -> None:
    anchor = bare_model.pretrained
    child = child_of(anchor, "first")
    config = engine_config(asked(anchor, suite).job)
    assert (config["dtype"], config["batch_size"]) == ("auto", "auto")
    assert "pinned_by" not in config
    found(anchor)
    config = engine_config(asked(child, suite).job)
    assert (config["dtype"], config["batch_size"]) == ("bfloat16", 32)
    assert config["pinned_by"] == str(anchor)
    config_from_json(config)


def test_the_nearest_baseline_counts_before_an_older_one(
    suite: Suite, bare_model: Any, child_of: Any, found: Any
) -> None:
    parent = child_of(bare_model.pretrained, "parent")
    found(bare_model.pretrained, batch_size=16)
    found(parent, batch_size=64)
    config = engine_config(asked(child_of(parent, "child"), suite).job)
    assert (config["batch_size"], config["pinned_by"]) == (64, str(parent))


def test_a_baseline_that_is_measured_later_takes_over_from_the_candidate(
    suite: Suite, bare_model: Any, child_of: Any, found: Any
) -> None:
    child = child_of(bare_model.pretrained, "child")
    found(child, batch_size=4)
    config = engine_config(asked(bare_model.pretrained, suite).job)
    assert (config["batch_size"], config["pinned_by"]) == (4, str(child))


def test_a_repeat_takes_over_from_the_first(suite: Suite, bare_model: Any, found: Any) -> None:
    first = found(bare_model.pretrained)
    repeat = evaluation_repeat(evaluation=first, created_by=None)
    assert engine_config(repeat.job)["batch_size"] == 32


def test_what_a_suite_says_is_what_is_done(suite: Suite, bare_model: Any, child_of: Any) -> None:
    fixed = copy_of(suite, settings=suite.settings | {"dtype": "float32", "batch_size": 8})
    evaluation = asked(bare_model.pretrained, fixed)
    assert pinned_fields(evaluation) == {}
    config = engine_config(evaluation.job)
    assert (config["dtype"], config["batch_size"]) == ("float32", 8)
    assert fixed.content_hash != suite.content_hash


def test_two_that_were_found_apart_are_not_compared(
    bare_model: Any, child_of: Any, found: Any
) -> None:
    """As two machines do that measure a model's first two checkpoints at the same time."""
    before = found(bare_model.pretrained)
    after = found(child_of(bare_model.pretrained, "child"), batch_size=16)
    with pytest.raises(EvaluationError, match="batch size: 32 before, 16 after") as refusal:
        verdict_reach(before=before, after=after)
    assert "make a version of it that says them" in str(refusal.value)


def test_the_page_says_what_was_used_and_that_the_suite_left_it_open(
    bare_model: Any, found: Any
) -> None:
    why = "the largest of at most 64 that fits 1,203 tokens"
    rows = dict(settings_rows(found(bare_model.pretrained, batch_size_why=why)))
    assert rows["Number format"] == "bfloat16 (the suite leaves it open)"
    assert rows["Sequences a pass"] == "32 (the suite leaves it open)"
    assert rows["Why so many"] == why and rows["Weights on"] == "one GPU"
