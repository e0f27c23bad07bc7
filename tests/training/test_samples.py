"""What is set aside is set aside for good, in whichever batch and session it comes again."""

import json
from pathlib import Path
from typing import Any

import pytest

from corpus.conversations import ChatEncoder
from engine.checks import ConfigError
from tests.training.toys import batch_ingest, conversation, recipe_of
from training.config import RunConfig
from training.samples import curriculum_build


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def learned(model: Path, *paths: Path) -> set[tuple[int, ...]]:
    """The token sequences that a run on these batches trains on, over three epochs."""
    recipe = recipe_of(model, paths[0])
    batches = [
        {"key": f"b{n}", "name": path.parent.name, "kind": "general", "path": str(path)}
        for n, path in enumerate(paths)
    ]
    config = RunConfig.from_json({**recipe, "batches": batches, "epochs": 3})
    curriculum = curriculum_build(config, ChatEncoder.from_directory(model), 2048)
    return {tuple(sample.encoded.token_ids) for sample in curriculum.samples}


def test_an_example_held_out_in_one_batch_is_learned_from_no_batch_of_the_mixture(
    tmp_path: Path, tiny_model_directory: Path
) -> None:
    records = [conversation(number, any_side=True) for number in range(60)]
    first = batch_ingest(tmp_path / "first", tiny_model_directory, records)
    held = [line for line in lines_of(first) if line["held_out"]]
    assert 2 <= len(held) <= 15
    # Written by something else than our ingestion: the same examples, marked for training.
    second = tmp_path / "second.jsonl"
    marked = [{**line, "held_out": False} for line in lines_of(first)]
    second.write_text("".join(json.dumps(line) + "\n" for line in marked))
    alone = learned(tiny_model_directory, second)
    assert len(alone) == 60
    assert learned(tiny_model_directory, first, second) == learned(tiny_model_directory, first)
    assert len(learned(tiny_model_directory, first)) == 60 - len(held)


def test_no_later_session_trains_on_what_an_earlier_one_set_aside(
    tmp_path: Path, tiny_model_directory: Path
) -> None:
    """The file comes again with more lines, shuffled, under another rule, and as a tiny one."""
    records = [conversation(number, any_side=True) for number in range(60)]
    first = batch_ingest(tmp_path / "first", tiny_model_directory, records)
    held = {line["sha256"] for line in lines_of(first) if line["held_out"]}
    more = [*reversed(records), *(conversation(n, any_side=True) for n in range(60, 90))]
    again = batch_ingest(tmp_path / "again", tiny_model_directory, more, rule="last")
    few = batch_ingest(tmp_path / "few", tiny_model_directory, records[:12])
    for later in (again, few):
        trained = {line["sha256"] for line in lines_of(later) if not line["held_out"]}
        assert not held & trained


def test_a_batch_of_which_all_is_held_out_is_refused_by_name(
    tmp_path: Path, tiny_model_directory: Path
) -> None:
    records = [conversation(number, any_side=True) for number in range(60)]
    first = batch_ingest(tmp_path / "first", tiny_model_directory, records)
    only = tmp_path / "only.jsonl"
    held = [line for line in lines_of(first) if line["held_out"]]
    only.write_text("".join(json.dumps(line) + "\n" for line in held))
    with pytest.raises(ConfigError, match="has no example to learn from"):
        learned(tiny_model_directory, only)
