"""An engine as a child process: started in its own group, tied to its supervisor's life."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

NICENESS = 10
"""Engines give way to the web server and the database on the same machine."""
STDERR_LINES = 12


def engine_environment() -> dict[str, str]:
    """The worker's environment without the portal's own settings and secrets."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FTPORTAL_", "DJANGO_", "DATABASE_URL", "CELERY_"))
    }


class EngineProcess:
    """A running engine. The thread that makes it must live at least as long as the engine does,
    for the kernel's parent-death signal, which the engine asks for, follows that thread."""

    def __init__(
        self, *, module: str, directory: Path, attempt: int, resume: Path | None = None
    ) -> None:
        self._log = directory / "attempts" / str(attempt)
        self._log.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        reading, self._pipe = os.pipe()
        command = [sys.executable, "-m", module, str(directory), "--attempt", str(attempt)]
        if resume is not None:
            command += ["--resume", str(resume)]
        command += ["--supervisor-fd", str(reading)]
        try:
            with (self._log / "stdout").open("wb") as out, (self._log / "stderr").open("wb") as err:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    cwd=settings.BASE_DIR,
                    env=engine_environment(),
                    pass_fds=(reading,),
                    process_group=0,
                )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(reading)
        self.pid = self._process.pid
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self.pid, NICENESS)

    def poll(self) -> int | None:
        """The exit code once the engine has ended (negative: killed by that signal), else None."""
        with self._lock:
            if self._process.returncode is None:
                flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
                if os.waitid(os.P_PID, self.pid, flags) is not None:
                    # Until it is reaped its number cannot be another group's.
                    self._kill_group()
                    self._process.wait()
            return self._process.returncode

    def ask_to_stop(self) -> None:
        """SIGTERM: save and stop."""
        with self._lock:
            if self._process.returncode is None:
                os.kill(self.pid, signal.SIGTERM)  # send_signal() would reap it

    def kill(self) -> None:
        """End the engine and everything in its group, now."""
        with self._lock:
            if self._process.returncode is None:
                self._kill_group()

    def close(self) -> None:
        """Make sure that nothing of the engine is left."""
        self.kill()
        self._process.wait()
        os.close(self._pipe)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """The last lines of its stderr, at most 4 KB."""
        with contextlib.suppress(OSError), (self._log / "stderr").open("rb") as file:
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(0, size_bytes - 4096))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
            return "\n".join(lines[-STDERR_LINES:])
        return ""


class Watchdog:
    """Kills an engine when its deadline passes, whatever its supervisor's thread is stuck in."""

    def __init__(self, kill: Callable[[], None], deadline_seconds: float) -> None:
        self.deadline_seconds = deadline_seconds
        """On the clock of time.monotonic()."""
        self.has_killed = False
        self._kill = kill
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(max(0.0, min(1.0, self.deadline_seconds - time.monotonic()))):
            if time.monotonic() >= self.deadline_seconds:
                self.has_killed = True
                self._kill()
                return

    def stop(self) -> None:
        """Stand down."""
        self._done.set()
        self._thread.join()
