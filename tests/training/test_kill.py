"""Killed at any moment, on a full disk, or with a bad example: what is left, and how it goes on."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.manifest import COMPLETE
from engine.process import BAD_INPUT, DONE, FAILED
from tests.training.toys import events_of
from training.__main__ import main

Recipe = dict[str, Any]
MakeRun = Callable[..., Path]
LONG = {
    "method": {"name": "apollo"},
    "epochs": 6,
    "examples_per_step": 2,
    "save_every_steps": 1,
    "watch": {"watch_every_steps": 0},
}


def start(directory: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "training", str(directory), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def saved(directory: Path, attempt: int) -> list[str]:
    """The states that the attempt's events name, as its supervisor reads them."""
    return [e["path"] for e in events_of(directory, attempt) if e["event"] == "saved"]


def kill_within_a_save(engine: subprocess.Popen[bytes], trainer: Path) -> Path:
    """Freeze the engine over and over until that hits a save that is not done; kill it there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert engine.poll() is None
        if not any(trainer.glob("*.tmp")) or len(list(trainer.glob("step-*"))) < 2:
            continue
        engine.send_signal(signal.SIGSTOP)
        torn = list(trainer.glob("*.tmp"))
        if torn and not (torn[0] / COMPLETE).exists():
            engine.kill()
            engine.wait(timeout=60)
            return torn[0]
        engine.send_signal(signal.SIGCONT)
    raise AssertionError("no save was hit")


def weights(directory: Path, attempt: int) -> dict[str, torch.Tensor]:
    return load_file(directory / f"attempts/{attempt}/output/model.safetensors")


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
def test_kills_within_a_save_and_at_a_random_moment_change_no_bit(
    recipe: Recipe, run_directory: MakeRun
) -> None:
    """Over epochs, with accumulation: the torn save is refused, the one before it is gone on from,
    twice over."""
    whole = run_directory(recipe, **LONG)
    assert main([str(whole)]) == DONE
    killed = run_directory(recipe, **LONG)
    torn = kill_within_a_save(start(killed), killed / "attempts/0/trainer")
    assert str(torn.with_suffix("")) not in saved(killed, 0)
    assert main([str(killed), "--attempt", "9", "--resume", str(torn)]) == BAD_INPUT

    engine = start(killed, "--attempt", "1", "--resume", saved(killed, 0)[-1])
    deadline = time.monotonic() + 120
    while not saved(killed, 1) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(random.Random().uniform(0.0, 0.3))
    engine.kill()
    assert engine.wait(timeout=60) in (DONE, -signal.SIGKILL)

    state = saved(killed, 1)[-1]
    assert main([str(killed), "--attempt", "2", "--resume", state]) == DONE, state
    assert_equal(weights(whole, 0), weights(killed, 2))


FULL = """
import resource, sys
from training.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
sys.exit(main([sys.argv[1], *sys.argv[3:]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("limit_bytes", "what"), [(80_000, "weights"), (160_000, "optimizer")])
def test_a_full_disk_loses_no_earlier_state(
    recipe: Recipe, run_directory: MakeRun, limit_bytes: int, what: str
) -> None:
    """A file that may not grow (RLIMIT_FSIZE; Python ignores its signal), as on a full disk.

    The limit comes with the second attempt, so a good state is there; it stays as it was, no torn
    one is left, and with room again the session ends in the same weights.
    """
    settings = {"method": {"name": "adamw"}, "watch": {"watch_every_steps": 0}}
    whole = run_directory(recipe, **settings)
    assert main([str(whole)]) == DONE
    state = saved(whole, 0)[0]
    command = [sys.executable, "-c", FULL, str(whole), str(limit_bytes)]
    command += ["--attempt", "1", "--resume", state]
    engine = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert engine.returncode == FAILED, engine.stderr[-2000:]
    error = events_of(whole, 1)[-1]
    assert error["where"] == "files", error
    assert "disk is full" in error["message"]
    assert saved(whole, 1) == []
    assert not any((whole / "attempts/1/trainer").glob("*")), what
    assert not (whole / "attempts/1/output.tmp").exists()
    assert main([str(whole), "--attempt", "2", "--resume", state]) == DONE
    assert_equal(weights(whole, 0), weights(whole, 2))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda line: line[: len(line) // 2], "Words, line 3 of its examples is not an example"),
        (lambda line: line.replace('"turns"', '"toorns"'), "Words, line 3"),
    ],
)
def test_a_bad_example_is_named_by_batch_and_line(
    recipe: Recipe, run_directory: MakeRun, tmp_path: Path, spoil: Callable[[str], str], words: str
) -> None:
    batch = recipe["batches"][0]
    lines = Path(batch["path"]).read_text().splitlines()
    assert spoil(lines[2]) != lines[2]
    lines[2] = spoil(lines[2])
    path = tmp_path / "spoilt.jsonl"
    path.write_text("\n".join(lines) + "\n")
    directory = run_directory(recipe, batches=[{**batch, "path": str(path)}])
    assert main([str(directory)]) == BAD_INPUT
    error = events_of(directory)[-1]
    assert error["where"] == "batches[0].path"
    assert words in error["message"]
    assert error["cure"]


def test_an_event_that_a_full_disk_cut_off_spoils_none_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine import events

    writer = events.EventWriter(tmp_path / "events.jsonl")
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
    with pytest.raises(OSError, match="No space"):
        writer.metric(step=1, values={"loss_nats": 1.0})
    monkeypatch.setattr(os, "write", write)
    writer.error(where="files", message="the disk is full", cure="Make room.")
    (torn, error), _ = events.read_events(writer.path)
    assert isinstance(torn, events.Caution) and '{"event": ' in torn.message, "told, not swallowed"
    assert error == events.Failure(where="files", message="the disk is full", cure="Make room.")
    assert json.loads(writer.path.read_text().splitlines()[-1])["where"] == "files"
