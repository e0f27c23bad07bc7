"""Seals: whatever was changed is named before the engine reads it."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.attempt import Attempt, attempt_run, config_read
from engine.manifest import file_sha256, manifest_write
from engine.process import BAD_INPUT, DONE
from tests.event_log import logged_events


def run(directory: Path, seals: Any) -> tuple[int, list[Any], dict[str, Any]]:
    """Run an engine that only looks at its config: exit code, configs that it saw, last event."""
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps({"steps": 3, "seals": seals}))
    seen: list[Any] = []

    def work(attempt: Attempt, config: Any) -> None:
        seen.append(config)
        attempt.events.done(summary={})

    code = attempt_run("test", work, [str(directory), "--attempt", "1"])
    return code, seen, logged_events(directory / "attempts/1/events.jsonl")[-1]


@pytest.fixture
def files(tmp_path: Path) -> list[dict[str, str]]:
    """Seals of a file and of a directory with a manifest."""
    file, directory = tmp_path / "examples.jsonl", tmp_path / "model"
    file.write_bytes(b"{}\n" * 50)
    directory.mkdir()
    (directory / "weights").write_bytes(bytes(range(200)))
    manifest = manifest_write(directory)
    return [
        {"what": "batch Talks", "path": str(file), "sha256": file_sha256(file)},
        {"what": "checkpoint One", "path": str(directory), "sha256": manifest["sha256"]},
    ]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_is_as_it_was_passes_and_the_engine_sees_no_seals(
    tmp_path: Path, files: list[dict[str, str]]
) -> None:
    code, seen, _ = run(tmp_path / "job", files)
    assert (code, seen) == (DONE, [{"steps": 3}])
    assert config_read(tmp_path / "job") == {"steps": 3}


@pytest.mark.parametrize(
    ("path", "what"), [("examples.jsonl", "batch Talks"), ("model/weights", "checkpoint One")]
)
def test_one_flipped_byte_is_named_and_nothing_is_read(
    tmp_path: Path, files: list[dict[str, str]], path: str, what: str
) -> None:
    flip(tmp_path / path)
    code, seen, event = run(tmp_path / "job", files)
    assert (code, seen, event["where"]) == (BAD_INPUT, [], what)
    assert "was changed on the disk" in event["message"]


@pytest.mark.parametrize("seals", [{"what": "x"}, [{"what": "x"}], ["x"], [{"path": 3}]])
def test_seals_that_are_none_are_refused(tmp_path: Path, seals: Any) -> None:
    code, seen, event = run(tmp_path / "job", seals)
    assert (code, seen) == (BAD_INPUT, [])
    assert event["where"].startswith("seals")


def test_a_file_that_is_gone_is_named(tmp_path: Path, files: list[dict[str, str]]) -> None:
    Path(files[0]["path"]).unlink()
    code, _, event = run(tmp_path / "job", files)
    assert (code, event["where"]) == (BAD_INPUT, "batch Talks")
