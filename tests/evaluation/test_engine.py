"""The engine as a process: exit codes, events, stopping, going on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine.manifest import manifest_write
from tests.event_log import logged_events


def start(directory: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "evaluation", str(directory), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)


def events(directory: Path, attempt: int = 0) -> list[dict[str, Any]]:
    return logged_events(directory / "attempts" / str(attempt) / "events.jsonl")


def test_it_measures_says_how_far_it_is_and_writes_everything(
    measure_config: dict[str, Any], attempt: Any
) -> None:
    code, directory = attempt(measure_config)
    assert code == 0
    result = logged_events(directory / "events.jsonl")
    progress = [one for one in result if one["event"] == "progress"]
    assert [one["done"] for one in progress] == sorted(one["done"] for one in progress)
    assert (progress[-1]["done"], progress[-1]["total"]) == (11, 11)
    phases = {one["phase"] for one in progress}
    assert phases >= {"perplexity on Texts", "local_arithmetic", "local_code"}
    assert progress[-1]["seconds_left"] == 0.0
    assert result[-1]["event"] == "done" and result[-1]["summary"]["item_count"] == 8
    settings = json.loads((directory / "output/settings.json").read_text())
    pinned = {"dtype", "device", "attention", "batch_size", "window_tokens", "stride_tokens"}
    assert pinned <= settings.keys() and "lm-eval" in settings["versions"]
    left = {path.name for path in directory.iterdir()}
    assert left == {"events.jsonl", "output", "parts"}  # no scratch files stay behind


@pytest.mark.slow
@pytest.mark.parametrize(("sign", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_stopped_or_killed_measurement_keeps_what_is_finished_and_goes_on(
    measure_config: dict[str, Any], tmp_path: Path, attempt: Any, sign: int, exit_code: int
) -> None:
    directory = tmp_path / "job"
    directory.mkdir()
    names = ("local_language", "local_reasoning", "local_filesystem", "local_code")
    config = measure_config | {
        "benchmarks": [{"name": name, "source": "local"} for name in names],
        "batch_size": 1,
    }
    (directory / "config.json").write_text(json.dumps(config))
    child = start(directory)
    deadline = time.monotonic() + 120
    while not any(one["event"] == "saved" for one in events(directory)):
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.02)
    child.send_signal(sign)
    assert child.wait(60) == exit_code
    stopped = events(directory)
    assert not (directory / "attempts/0/output").exists()
    saved = [one for one in stopped if one["event"] == "saved"][-1]
    assert (directory / saved["path"] / "COMPLETE").is_file()

    code, second = attempt(config, "--attempt", "1", "--resume", str(directory / saved["path"]))
    assert code == 0
    kept = sorted((directory / "attempts/0/parts").glob("*.json"))
    for part in kept:
        assert part.read_bytes() == (second / "parts" / part.name).read_bytes()
    lines = (second / "output/samples.jsonl").read_text().splitlines()
    assert {json.loads(line)["benchmark"] for line in lines} == set(names)
    assert (second / "output/documents.jsonl").read_text().count("\n") == 3

    changed = config | {"seed": 1}
    code, _ = attempt(changed, "--attempt", "2", "--resume", str(directory / saved["path"]))
    assert code == 2


def test_wrong_configs_and_models_exit_with_2_before_torch_is_loaded(
    measure_config: dict[str, Any], attempt: Any, tmp_path: Path
) -> None:
    missing = measure_config | {"model": str(tmp_path / "nowhere")}
    for number, (config, where) in enumerate(
        [(measure_config | {"colour": 1}, "colour"), (missing, "model")]
    ):
        code, directory = attempt(config, "--attempt", str(number))
        last = logged_events(directory / "events.jsonl")[-1]
        assert (code, last["event"], last["where"]) == (2, "error", where)
        assert last["cure"]


def test_pickled_weights_are_refused(
    measure_config: dict[str, Any], attempt: Any, tmp_path: Path
) -> None:
    from tests.tiny_model import tiny_model_write

    model = tiny_model_write(tmp_path / "pickled")
    (model / "pytorch_model.bin").write_bytes(b"anything")
    code, directory = attempt(measure_config | {"model": str(model)})
    assert code == 2
    assert "pickle" in logged_events(directory / "events.jsonl")[-1]["message"]


def test_a_model_that_lacks_a_weight_is_refused_instead_of_measured_with_a_random_one(
    measure_config: dict[str, Any], attempt: Any, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    from tests.tiny_model import tiny_model_write

    model = tiny_model_write(tmp_path / "incomplete")
    weights = load_file(model / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    code, directory = attempt(measure_config | {"model": str(model)})
    assert code == 2
    assert "model.norm.weight" in logged_events(directory / "events.jsonl")[-1]["message"]


def test_a_part_that_a_power_cut_tore_is_measured_again(
    measure_config: dict[str, Any], attempt: Any
) -> None:
    code, first = attempt(measure_config)
    assert code == 0
    torn = sorted((first / "parts").glob("*.json"))[0]
    torn.write_text(torn.read_text()[:20])
    code, second = attempt(measure_config, "--attempt", "1", "--resume", str(first / "parts"))
    assert code == 0
    for name in ("scores.json", "samples.jsonl", "documents.jsonl"):
        assert (second / "output" / name).read_text() == (first / "output" / name).read_text()


def test_two_models_cannot_get_each_others_answers(
    measure_config: dict[str, Any], attempt: Any, tmp_path: Path
) -> None:
    """In one directory, one after the other, going on from the other's parts, or in its place."""
    from tests.tiny_model import tiny_model_write

    answers: dict[str, str] = {}
    models = {name: tiny_model_write(tmp_path / name, seed) for name, seed in (("a", 3), ("b", 4))}
    hashes = {name: manifest_write(path)["sha256"] for name, path in models.items()}

    def asked(name: str, **changes: Any) -> dict[str, Any]:
        own = {"model": str(models[name]), "manifest_sha256": hashes[name]}
        return measure_config | own | changes

    for number, name in enumerate("abab"):
        code, directory = attempt(asked(name), "--attempt", str(number))
        assert code == 0
        text = (directory / "output/samples.jsonl").read_text()
        assert answers.setdefault(name, text) == text
    assert answers["a"] != answers["b"]
    parts = str(directory / "parts")
    code, _ = attempt(asked("a"), "--attempt", "4", "--resume", parts)
    assert code == 2
    code, directory = attempt(asked("a", manifest_sha256=hashes["b"]), "--attempt", "5")
    last = logged_events(directory / "events.jsonl")[-1]
    assert code == 2 and "those of another checkpoint" in last["message"]
