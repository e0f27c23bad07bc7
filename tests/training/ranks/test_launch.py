"""What ties the ranks of a run together: real child processes that do as a word tells them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.attempt import Attempt, EngineError, StoppedError
from engine.checks import ConfigError
from engine.process import BAD_INPUT, DIVERGED, FAILED, StopRequest
from training.ahead.warnings import recipe_warnings
from training.config import RunConfig, example_config
from training.ranks.launch import (
    Launch,
    foreign_launcher_refuse,
    gpu_name,
    process_count,
    report_write,
)

pytestmark = pytest.mark.slow

CHILD = """
import json, os, signal, sys, time
from pathlib import Path
from engine.attempt import EngineError
from training.ranks.launch import Place, report_write
from training.ranks.launched import signals_take
from engine.process import supervise_self
place = Place(**json.loads(sys.argv[1]))
acts = json.loads((Path(place.directory) / "acts.json").read_text())[place.rank]
for word, value in acts:
    if word == "sleep":
        time.sleep(value)
    elif word == "ready":
        stop = signals_take(first=place.rank == 0)
        supervise_self(place.launcher_fd)
        (Path(place.directory) / f"ready-{place.rank}").write_text(str(os.getpid()))
    elif word == "until stopped":
        while not stop.requested:
            time.sleep(0.01)
    elif word == "report":
        metric = {"step": 7, "values": {"loss_nats": None}}
        failure = EngineError(value, f"of rank {place.rank}", "it went wrong", "Mend it.", metric=metric)
        report_write(place.report_fd, failure)
    elif word == "die":
        os.kill(os.getpid(), value)
    elif word == "exit":
        os._exit(value)
"""  # noqa: E501
LONG = [["ready", 0], ["sleep", 60]]
Acts = list[list[list]]
Make = Callable[[Acts], Attempt]


@pytest.fixture
def attempt_of(tmp_path: Path) -> Make:
    """`attempt_of(acts of every rank)`: an attempt whose ranks do this."""

    def make(acts: Acts) -> Attempt:
        (tmp_path / "acts.json").write_text(json.dumps(acts))
        return Attempt(tmp_path, 0, None, StopRequest())

    return make


def seen_through(attempt: Attempt, count: int = 2) -> Launch:
    """Follow the ranks to their end; afterwards none of them is left, however it ended."""
    launch = Launch(attempt, count, program=("-c", CHILD))
    try:
        with launch:
            launch.follow()
    finally:
        assert all(process.returncode is not None for process in launch.processes)
    return launch


def until_ready(directory: Path, rank: int) -> int:
    """Wait for a rank and return its process id."""
    deadline = time.monotonic() + 30
    path = directory / f"ready-{rank}"
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(path.read_text())


def is_alive(process_id: int) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_all_is_done_when_the_first_rank_is(attempt_of: Make) -> None:
    """The others may have ended long before, or be on their way."""
    seen_through(attempt_of([[["sleep", 0.2], ["exit", 0]], [["exit", 0]], LONG]), count=3)


def test_the_rank_that_fails_takes_the_others_down_and_its_words_are_the_runs(
    attempt_of: Make,
) -> None:
    with pytest.raises(EngineError) as caught:
        seen_through(attempt_of([LONG, [["report", DIVERGED], ["exit", DIVERGED]]]))
    failure = caught.value
    assert (failure.exit_code, failure.where) == (DIVERGED, "of rank 1")
    assert (failure.message, failure.cure) == ("it went wrong", "Mend it.")
    assert failure.metric == {"step": 7, "values": {"loss_nats": None}}


@pytest.mark.parametrize(
    ("acts", "code", "said"),
    [
        ([["die", signal.SIGKILL]], 137, "process 2 of 2 was killed (SIGKILL)"),
        ([["report", BAD_INPUT], ["exit", BAD_INPUT]], BAD_INPUT, "it went wrong"),
    ],
)
def test_an_error_that_follows_from_another_ranks_is_not_the_cause(
    attempt_of: Make, acts: list, code: int, said: str
) -> None:
    """The first rank sees a broken connection and says so before the cause is known."""
    connection_lost = [["report", FAILED], ["exit", FAILED]]
    with pytest.raises(EngineError) as caught:
        seen_through(attempt_of([connection_lost, [["sleep", 0.5], *acts]]))
    assert caught.value.exit_code == code
    assert said in caught.value.message


def test_a_rank_that_ends_without_a_word_is_named(attempt_of: Make) -> None:
    with pytest.raises(EngineError, match="process 2 of 2 ended with exit code 1"):
        seen_through(attempt_of([LONG, [["exit", FAILED]]]))


def test_sigterm_reaches_the_first_rank_even_before_it_can_handle_it(attempt_of: Make) -> None:
    acts = [["sleep", 0.5], ["ready", 0], ["until stopped", 0], ["exit", 143]]
    attempt = attempt_of([acts, LONG])
    attempt.stop.requested = True
    with pytest.raises(StoppedError):
        seen_through(attempt)


LAUNCHER = """
import os, sys
from pathlib import Path
from engine.attempt import Attempt
from training.ranks.launch import Launch
from engine.process import StopRequest
attempt = Attempt(Path(sys.argv[1]), 0, None, StopRequest().install())
with Launch(attempt, 2, program=("-c", sys.argv[2])) as launch:
    launch.follow()
"""


@pytest.mark.parametrize("victim", ["launcher", "group"])
def test_no_rank_outlives_a_killed_launcher(attempt_of: Make, victim: str) -> None:
    directory = attempt_of([LONG, LONG]).job_directory
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(directory), CHILD], process_group=0
    )
    ranks = [until_ready(directory, rank) for rank in range(2)]
    assert all(os.getpgid(rank) == launcher.pid for rank in ranks), "one group, one SIGKILL"
    if victim == "group":
        os.killpg(launcher.pid, signal.SIGKILL)
    else:
        launcher.kill()
    launcher.wait()
    deadline = time.monotonic() + 10
    while any(is_alive(rank) for rank in ranks) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(is_alive(rank) for rank in ranks)


def test_a_report_is_one_line_that_no_other_can_tear() -> None:
    """However long the words are: 4,096 bytes are written in one piece."""
    reading, writing = os.pipe()
    report_write(writing, EngineError(FAILED, "ö" * 999, "ö" * 9999, "\U0001f600" * 9999))
    line = os.read(reading, 65536)
    assert len(line) <= 4096
    assert json.loads(line)["exit_code"] == FAILED
    os.close(reading)
    os.close(writing)


def config_of(**changes: object) -> RunConfig:
    return RunConfig.from_json({**example_config(), **changes})


def test_processes_are_counted_by_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def count(processes: int | str, device: str) -> int:
        return process_count(config_of(ranks={"processes": processes}, device=device))

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert [count(2, "cpu"), count(2, "auto"), count("auto", "auto")] == [2, 2, 1]
    with pytest.raises(ConfigError, match="2 processes need as many GPUs, and 0"):
        count(2, "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [count("auto", "auto"), count(3, "cuda"), count("auto", "cpu")] == [4, 3, 1]
    with pytest.raises(ConfigError, match="5 processes need as many GPUs, and 4"):
        count(5, "auto")


def test_each_rank_gets_one_of_the_gpus_that_the_launcher_sees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [gpu_name(0), gpu_name(1)] == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-abc")
    assert [gpu_name(0), gpu_name(1)] == ["5", "GPU-abc"]


def test_it_refuses_to_be_a_rank_of_another_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign_launcher_refuse()
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ConfigError, match="another launcher"):
        foreign_launcher_refuse()


@pytest.mark.parametrize(
    ("ranks", "method", "where"),
    [
        ({"processes": 0}, "adamw", "ranks.processes"),
        ({"processes": "many"}, "adamw", "ranks.processes"),
        ({"processes": True}, "adamw", "ranks.processes"),
        ({"processes": 2.0}, "adamw", "ranks.processes"),
        ({"processes": 2, "sharding": "zero3"}, "adamw", "ranks.sharding"),
        ({"sharding": "fsdp2"}, "adamw", "ranks.sharding"),
    ],
)
def test_a_setting_that_cannot_be_honoured_is_refused_by_name(
    ranks: dict, method: str, where: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(ranks=ranks, method={"name": method})
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"method": {"name": "lora"}, "defences": {"l2_strength": 1.0}},
            "pull toward the parent needs the whole adapter of lora",
        ),
        (
            {"method": {"name": "apollo", "implementation": "apollo-torch"}},
            "apollo by apollo-torch needs whole matrices",
        ),
    ],
)
def test_what_cannot_be_sharded_is_refused_by_name(changes: dict, words: str) -> None:
    ranks = {"processes": 2, "sharding": "fsdp2"}
    with pytest.raises(ConfigError, match=words) as caught:
        config_of(ranks=ranks, **changes)
    assert caught.value.where == "ranks.sharding"


def test_processes_that_would_wait_and_diagnostics_that_sharding_leaves_out_are_warned_of() -> None:
    def warned(**changes: object) -> set[str]:
        return {
            one.field for one in recipe_warnings(config_of(method={"name": "adamw"}, **changes))
        }

    assert not {"processes", "sharding"} & warned()
    assert "processes" in warned(ranks={"processes": 4}, examples_per_step=3)
    assert "processes" not in warned(ranks={"processes": 4}, examples_per_step=4)
    assert "sharding" in warned(ranks={"processes": 2, "sharding": "fsdp2"})
