"""The engine that reads files again: every difference is named, and nothing else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.manifest import file_sha256, manifest_check, manifest_write
from engine.rereading import main


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory of three files with its manifest."""
    directory = tmp_path / "model"
    (directory / "tokenizer").mkdir(parents=True)
    (directory / "model.safetensors").write_bytes(bytes(range(256)) * 8192)
    (directory / "config.json").write_text("{}")
    (directory / "tokenizer" / "merges.txt").write_text("a b")
    manifest_write(directory)
    return directory


def reread(tmp_path: Path, *things: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and the report; none where there is no output."""
    job = tmp_path / "job"
    job.mkdir()
    (job / "config.json").write_text(json.dumps({"things": list(things)}))
    code = main([str(job), "--attempt", "1"])
    report = job / "attempts" / "1" / "output" / "report.json"
    return code, json.loads(report.read_text()) if report.is_file() else []


def thing(what: str, path: Path, sha256: str = "") -> dict[str, str]:
    sha256 = sha256 or (manifest_check(path)["sha256"] if path.is_dir() else file_sha256(path))
    return {"what": what, "path": str(path), "sha256": sha256}


def test_what_is_unchanged_has_no_problem(tmp_path: Path, model: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text("words")
    code, report = reread(tmp_path, thing("model", model), thing("text", text))
    size_bytes = 256 * 8192 + 2 + 3
    assert code == 0
    assert [one | {"sha256": ""} for one in report] == [
        {"what": "model", "sha256": "", "files": 3, "size_bytes": size_bytes, "problem": ""},
        {"what": "text", "sha256": "", "files": 1, "size_bytes": 5, "problem": ""},
    ]


def flip(directory: Path) -> None:
    path = directory / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[12345] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip, "model.safetensors was changed: its SHA-256 does not match"),
        (lambda one: (one / "config.json").unlink(), "config.json is missing"),
        (lambda one: (one / "new.bin").write_text("x"), "new.bin is not in the manifest"),
        (lambda one: (one / "config.json").write_text("{ }"), "config.json has 3 bytes, not 2"),
        (lambda one: shutil.rmtree(one), "cannot be read: No such file or directory"),
        (lambda one: (one / "manifest.json").write_text("{}"), "manifest.json is missing or"),
    ],
)
def test_a_difference_is_named_and_the_rest_is_read_too(
    tmp_path: Path, model: Path, damage: Callable[[Path], Any], words: str
) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text("words")
    things = [thing("model", model), thing("text", text)]
    damage(model)
    code, report = reread(tmp_path, *things)
    assert code == 0
    assert words in report[0]["problem"]
    assert report[1]["problem"] == ""


def test_a_manifest_made_anew_is_not_taken_for_the_old_one(tmp_path: Path, model: Path) -> None:
    told = thing("model", model)
    flip(model)
    manifest_write(model)
    _, report = reread(tmp_path, told)
    assert "its SHA-256 is not the one that was kept" in report[0]["problem"]


def test_a_config_without_things_is_refused(tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "config.json").write_text("{}")
    assert main([str(job), "--attempt", "1"]) == 2
