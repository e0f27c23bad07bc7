"""Runs a few processes side by side, starts again what dies, and leaves none of them behind.

The printing is honcho's. Its own loop ends everything as soon as one process dies, starts
commands through a shell, and waits five seconds before it kills, less than a run may need to save.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import FrameType

from honcho.colour import get_colours
from honcho.printer import Message, Printer

from ftportal.operations.places import SetupError

TETHER = Path(__file__).with_name("tether.py")
POLL_SECONDS = 0.1
RESTART_DELAY_SECONDS = 1.0
DEATHS_ALLOWED = 3
DEATHS_WITHIN_SECONDS = 60.0
LAST_LINES = 20
SAME_SIGNAL_SECONDS = 0.5
"""A terminal that closes may send the same wish twice: only a later one means "harder"."""
TELL_AFTER_SECONDS = 4


class Stopped(Exception):  # noqa: N818 - not an error: somebody asked for it
    """A signal arrived while a step was waited for."""


@dataclass
class Service:
    """One process that should always run."""

    name: str
    command: list[str]
    stop_last: bool = False
    """Ends only when the others have ended, for they need it to end well."""
    colour: str = ""
    process: subprocess.Popen[bytes] | None = None
    restart_at: float | None = None
    deaths: deque[float] = field(default_factory=deque)
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None


class Manager:
    """Starts services, relays their output, restarts and stops them. For the main thread only."""

    def __init__(
        self, *, environment: Mapping[str, str], folder: Path, kill_wait_seconds: float
    ) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._kill_wait_seconds = kill_wait_seconds
        self._services: list[Service] = []
        self._colours = get_colours()
        self._printer = Printer(sys.stdout, width=len("web server"))
        self._messages: queue.SimpleQueue[tuple[Service | None, bytes | str]] = queue.SimpleQueue()
        self._signals = 0
        self._last_signal = 0.0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last_signal > SAME_SIGNAL_SECONDS:
            self._signals += 1
        self._last_signal = now

    def say(self, text: str) -> None:
        """Print a message of the manager's own; from any thread."""
        self._messages.put((None, text))

    def start(self, name: str, command: list[str], *, stop_last: bool = False) -> Service:
        """Start a service that is to be kept running."""
        service = Service(name, command, stop_last, next(self._colours))
        self._services.append(service)
        self._spawn(service)
        return service

    def run(self, name: str, command: list[str]) -> None:
        """Run a command to its end, while the services go on.

        Raises Stopped on a signal, and SetupError where it fails.
        """
        step = Service(name, command, colour=next(self._colours))
        self._spawn(step)
        self.wait_until(lambda: not step.is_alive, step)
        if step.process is None or step.process.returncode:
            raise SetupError(f"The step “{name}” failed; its lines above say why.")

    def wait_until(self, ready: Callable[[], bool], *extra: Service) -> None:
        """Relay output until `ready()`; raises Stopped on a signal."""
        self._services.extend(extra)
        try:
            while not ready():
                if self._signals:
                    raise Stopped
                self._relay()
        finally:
            for service in extra:
                self._end(service, signal.SIGTERM, seconds=5)
                self._services.remove(service)

    def loop(self) -> int:
        """Keep the services running until a signal comes; return 0, or 1 where one keeps dying."""
        while not self._signals:
            self._relay()
            for service in self._services:
                if self._look_after(service):
                    return 1
        return 0

    def stop(self) -> None:
        """End all services, those that the others need last; kill what does not end in time.

        A second signal kills at once.
        """
        self._signals = min(self._signals, 1)
        self.say("Stopping.")
        for last in (False, True):
            group = [service for service in self._services if service.stop_last is last]
            self._stop_group(group)
        self._relay()

    def _stop_group(self, group: list[Service]) -> None:
        for service in group:
            _send(service, signal.SIGTERM)
        began = time.monotonic()
        told = False
        while living := [service for service in group if service.is_alive]:
            self._relay()
            waited = time.monotonic() - began
            if self._signals > 1 or waited > self._kill_wait_seconds:
                for service in living:
                    _send(service, signal.SIGKILL)
            elif waited > TELL_AFTER_SECONDS and not told:
                told = True
                names = " and ".join(service.name for service in living)
                self.say(
                    f"Waiting for {names}: a run that is under way is saved first. Ctrl-C again "
                    "stops at once; the run then goes on from the state that it saved before."
                )

    def _spawn(self, service: Service) -> None:
        service.restart_at = None
        service.process = subprocess.Popen(
            [sys.executable, "-I", str(TETHER), str(os.getpid()), *service.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            cwd=self._folder,
            start_new_session=True,
        )
        threading.Thread(
            target=self._read, args=(service, service.process), name=service.name, daemon=True
        ).start()

    def _read(self, service: Service, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is not None:
            with process.stdout as output:
                for line in output:
                    self._messages.put((service, line))

    def _relay(self) -> None:
        """Print what has arrived, waiting a moment for more."""
        with suppress(queue.Empty):
            service, data = self._messages.get(timeout=POLL_SECONDS)
            while True:
                self._print(service, data)
                service, data = self._messages.get_nowait()

    def _print(self, service: Service | None, data: bytes | str) -> None:
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        text = text.rstrip().rpartition("\r")[2]  # of a progress bar its last state
        if service is not None:
            service.last_lines.append(text.rstrip())
        name, colour = (service.name, service.colour) if service else ("ftportal", "1")
        with suppress(OSError):  # the terminal may be gone
            self._printer.write(
                Message(type="line", data=text, time=datetime.now(), name=name, colour=colour)
            )

    def _look_after(self, service: Service) -> bool:
        """Restart a service that died; True where it dies too often."""
        now = time.monotonic()
        if service.is_alive or service.process is None:
            return False
        if service.restart_at is None:
            service.deaths.append(now)
            while now - service.deaths[0] > DEATHS_WITHIN_SECONDS:
                service.deaths.popleft()
            how = _how(service.process.returncode)
            if len(service.deaths) >= DEATHS_ALLOWED:
                self._relay()
                self.say(f"{service.name} {how}, {DEATHS_ALLOWED} times in a minute. It said:")
                self.say("\n".join(service.last_lines) or "(nothing)")
                return True
            self.say(f"{service.name} {how}; it is started again.")
            service.restart_at = now + RESTART_DELAY_SECONDS
        elif now >= service.restart_at:
            self._spawn(service)
        return False

    def _end(self, service: Service, number: int, *, seconds: float) -> None:
        _send(service, number)
        if service.process is not None:
            try:
                service.process.wait(seconds)
            except subprocess.TimeoutExpired:
                _send(service, signal.SIGKILL)
                service.process.wait()


def _send(service: Service, number: int) -> None:
    """Signal a service's process. Its group: a web server has workers."""
    if service.process is not None and service.process.poll() is None:
        if number == signal.SIGKILL:
            os.killpg(service.process.pid, number)
        else:
            service.process.send_signal(number)


def _how(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
