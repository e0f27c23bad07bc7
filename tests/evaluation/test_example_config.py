"""The commented example config of a measurement."""

import dataclasses
import json
from pathlib import Path

import pytest

from engine.attempt import config_read
from engine.commented import field_comments
from evaluation import config as settings
from evaluation.__main__ import main
from evaluation.config import BenchmarkConfig, HeldOutConfig, MeasureConfig, config_from_json
from evaluation.config.example import example_config


def test_the_printed_example_is_read_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--example-config"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "config.json").write_text(text)
    record = config_read(tmp_path)
    assert record == json.loads(json.dumps(example_config()))
    assert isinstance(config_from_json(record), MeasureConfig)
    assert max(map(len, text.split("\n"))) <= 100
    assert "// One of local, lm_eval, own: local ships with the portal" in text
    assert "// A Hugging Face directory with a tokenizer" in text  # of the class that it extends


@pytest.mark.parametrize("cls", [MeasureConfig, BenchmarkConfig, HeldOutConfig])
def test_every_field_has_its_comment(cls: type) -> None:
    comments = field_comments(cls, settings)
    assert {item.name for item in dataclasses.fields(cls)} == comments.keys()
    assert all(comments.values())
