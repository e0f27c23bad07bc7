"""The commented example config, and recipes that make no sense together."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.attempt import config_read
from engine.checks import ConfigError
from engine.commented import field_comments
from engine.process import BAD_INPUT, DONE
from tests.training.toys import events_of
from training import config as settings
from training.__main__ import main
from training.config import GROUPS, BatchConfig, ProbeConfig, RunConfig, example_config

Recipe = dict[str, Any]
MakeRun = Callable[..., Path]


def test_the_printed_example_is_read_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--example-config"]) == DONE
    text = capsys.readouterr().out
    (tmp_path / "config.json").write_text(text)
    assert config_read(tmp_path) == example_config()
    assert max(map(len, text.splitlines())) <= 100
    assert "// One of constant, linear, cosine; linear and cosine end at 0." in text
    assert "None" not in text


@pytest.mark.parametrize("cls", [RunConfig, BatchConfig, ProbeConfig, *GROUPS.values()])
def test_every_field_has_its_comment(cls: type) -> None:
    comments = field_comments(cls, settings)
    assert {item.name for item in dataclasses.fields(cls)} == comments.keys()
    assert all(comments.values())


def test_only_whole_lines_are_comments(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('// first\n{"a": "http://x // y",\n  \t// "b": 1,\n"c": 2}\n')
    assert config_read(tmp_path) == {"a": "http://x // y", "c": 2}
    path.write_text('{"a": 1} // not a line of its own')
    with pytest.raises(ConfigError, match="not JSON"):
        config_read(tmp_path)
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ConfigError, match="not JSON"):
        config_read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"warmup_steps": 5, "max_steps": 5}, "warmup_steps"),
        ({"warmup_steps": 10}, "warmup_steps"),  # as many as the ten examples give steps
        ({"method": {"name": "lora", "rank": 64}}, "method.rank"),  # the widest side is 32
    ],
)
def test_a_setting_that_this_run_leaves_without_effect_is_refused(
    recipe: Recipe, run_directory: MakeRun, changes: Recipe, where: str
) -> None:
    directory = run_directory(recipe, **changes)
    assert main([str(directory)]) == BAD_INPUT
    error = events_of(directory)[-1]
    assert error["where"] == where
    assert error["cure"]


def test_settings_at_their_limit_are_accepted() -> None:
    config = RunConfig.from_json({**example_config(), "warmup_steps": 4, "max_steps": 5})
    config.steps_check(5)
    lora = {**example_config(), "method": {"name": "lora", "rank": 32}}
    shapes = {"model.layers.0.up.weight": (64, 32), "model.layers.0.k.weight": (8, 32)}
    RunConfig.from_json(lora).shapes_check(shapes)
    # APOLLO projects a matrix onto its own smaller side where the rank is larger.
    RunConfig.from_json(example_config()).shapes_check(shapes)
    assert json.dumps(config.to_json())
