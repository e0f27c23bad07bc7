"""The whole portal under its manager: real processes, stopped and killed in every way."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftportal.jobs import registry
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.services import job_submit
from ftportal.operations.places import (
    Address,
    SetupError,
    address_free,
    address_wanted,
    secret_key_file,
)
from tests.engines.apps import CountingConfig
from tests.ftportal.jobs.processes import (
    BASE,
    database_at,
    engine_of,
    is_alive,
    processes_with,
    wait_for,
)


class Operations:
    """`python -m ftportal.operations` on a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder.parent / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **variables: str) -> subprocess.Popen[bytes]:
        """Start it and wait for its first page."""
        self.log.write_bytes(b"")
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("FTPORTAL_")
        }
        environment |= {
            "DJANGO_SETTINGS_MODULE": "tests.engines.settings",
            "FTPORTAL_DATA": str(self.folder),
            "FTPORTAL_DEMO": "false",
            "FTPORTAL_SWEEP_SECONDS": "1",
            **variables,
        }
        with self.log.open("ab") as log:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "ftportal.operations"],
                cwd=BASE, env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_for(lambda: "is ready" in self.said() or process.poll() is not None, seconds=60)
        assert process.poll() is None, self.said()
        return process

    def said(self) -> str:
        """Everything it printed."""
        return self.log.read_text()

    def processes(self) -> dict[int, str]:
        """All living processes of this portal."""
        return processes_with(f"FTPORTAL_DATA={self.folder}") | processes_with(f"{self.folder}/")

    def process(self, words: str) -> int:
        """The number of the one whose command has these words."""
        return next(pid for pid, command in self.processes().items() if words in command)

    def close(self) -> None:
        """Leave nothing behind, even where the test failed."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def operations(tmp_path: Path) -> Iterator[Operations]:
    """A portal that is not started yet."""
    folder = tmp_path / "var"
    folder.mkdir()
    operations = Operations(folder)
    yield operations
    operations.close()


@pytest.fixture
def job_of(
    operations: Operations, settings: Any, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """`job_of(steps=...)`: submit a counting job to the portal's own database."""
    settings.FTPORTAL_DATA = operations.folder
    monkeypatch.setattr(registry, "_kinds", {})
    CountingConfig.ready(None)  # type: ignore[arg-type]

    def job_of(**config: Any) -> Job:
        job = job_submit(kind="count", title="Count", created_by=None)
        job.directory.parent.mkdir(parents=True, exist_ok=True)
        job.directory.with_suffix(".json").write_text(json.dumps(config))
        Job.objects.filter(pk=job.pk).update(rung_at=job.created_at.replace(year=2020))
        return job

    with django_db_blocker.unblock(), database_at(operations.folder / "db.sqlite3"):
        yield job_of


def running(job: Job) -> int:
    """The engine's number once it works."""

    def look() -> int | None:
        fresh = Job.objects.get(pk=job.pk)
        working = fresh.state == JobState.RUNNING and fresh.progress_done
        return engine_of(fresh) if working else None

    engine: int = wait_for(look, why="an engine that works")
    return engine


@pytest.mark.slow
def test_ctrl_c_saves_the_run_and_leaves_nothing_and_a_second_start_goes_on(
    operations: Operations, job_of: Any
) -> None:
    manager = operations.start()
    assert (operations.folder / "secret_key").stat().st_mode & 0o777 == 0o600
    refused = subprocess.run(
        [sys.executable, "-m", "ftportal.operations"],
        cwd=BASE, capture_output=True, text=True, check=False,
        env={**os.environ, "FTPORTAL_DATA": str(operations.folder)},
    )  # fmt: skip
    assert refused.returncode == 2 and "already runs" in refused.stderr

    worker = operations.process("engines@")
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: "engines was ended by SIGKILL; it is started again" in operations.said())
    job = job_of(steps=120, step_seconds=0.05, save_every_steps=1000)
    engine = running(job)
    manager.send_signal(signal.SIGINT)
    assert manager.wait(30) == 0, operations.said()
    assert operations.processes() == {} and not is_alive(engine)
    assert Job.objects.get().state == JobState.QUEUED and Job.objects.get().resume_state

    began = time.monotonic()
    manager = operations.start()
    assert time.monotonic() - began < 30, "under ten seconds on a machine with nothing else to do"
    wait_for(lambda: Job.objects.get().state == JobState.SUCCEEDED, seconds=40, why="the end")
    manager.send_signal(signal.SIGTERM)
    assert manager.wait(30) == 0
    assert operations.processes() == {}


@pytest.mark.slow
def test_nothing_outlives_a_killed_manager(operations: Operations, job_of: Any) -> None:
    manager = operations.start()
    job = job_of(steps=2000, step_seconds=0.05, save_every_steps=1000, ignore_stop=True)
    engine = running(job)
    assert len(operations.processes()) >= 7, "manager, redis, web (2), workers (2), beat, engine"
    manager.kill()
    manager.wait()
    wait_for(lambda: not operations.processes(), seconds=5, why="the end of everything")
    assert not is_alive(engine)


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_the_save(operations: Operations, job_of: Any) -> None:
    manager = operations.start()
    engine = running(job_of(steps=2000, step_seconds=0.05, ignore_stop=True))
    manager.send_signal(signal.SIGINT)
    wait_for(lambda: "Ctrl-C again" in operations.said(), why="the hint")
    manager.send_signal(signal.SIGINT)
    assert manager.wait(10) == 0
    wait_for(lambda: not operations.processes(), seconds=3, why="the end of everything")
    assert not is_alive(engine)


@pytest.mark.slow
def test_a_process_that_keeps_dying_stops_everything_with_its_last_lines(
    operations: Operations, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "waitress.py").write_text('raise SystemExit("this web server is broken")')
    with pytest.raises(AssertionError, match="3 times in a minute") as raised:
        operations.start(PYTHONPATH=str(broken))
    assert "this web server is broken" in str(raised.value)
    assert operations.processes() == {}


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("", "127.0.0.1", 8000),
        ("10.1.2.3", "10.1.2.3", 8000),
        ("10.1.2.3:80", "10.1.2.3", 80),
        (":9000", "127.0.0.1", 9000),
        ("[::1]:9000", "::1", 9000),
        ("::1", "::1", 8000),
        ("localhost:1", "localhost", 1),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int) -> None:
    assert address_wanted(text) == Address(host=host, port=port)


@pytest.mark.parametrize("text", ["host:abc", "127.0.0.1:99999", "127.0.0.1:0"])
def test_a_bad_port_is_refused(text: str) -> None:
    with pytest.raises(SetupError, match="not a port"):
        address_wanted(text)


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = Address(host="127.0.0.1", port=taken.getsockname()[1])
        assert address_free(wanted).port > wanted.port


def test_the_secret_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    key = secret_key_file(tmp_path).read_text()
    assert len(key) > 50
    assert secret_key_file(tmp_path).read_text() == key
    assert secret_key_file(tmp_path).stat().st_mode & 0o777 == 0o600
