"""Starts the processes that share a run, and ends with the first failure among them.

The engine of a run with several processes is a launcher: it starts the ranks as children in its
own process group, passes SIGTERM on to the first of them, and waits. torchrun and accelerate launch
put ranks into sessions of their own, which survive the group's SIGKILL, and turn every exit code
into 1. A rank dies with the launcher: by the kernel's parent-death signal and by the end of a pipe
(engine.process). A rank that fails says why on another pipe before it ends. The ranks meet at a
socket that the launcher opened on the loopback interface, so no port is guessed. No torch here,
but for counting GPUs.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from engine.attempt import Attempt, EngineError, StoppedError
from engine.checks import ConfigError
from engine.process import DONE, FAILED, STOPPED
from training.config import AUTO, RunConfig

PROGRAM = ("-m", "training.ranks.launched")
"""What Python runs as a rank; it is given a Place as JSON."""
_POLL_SECONDS = 0.05
_CAUSE_SECONDS = 3.0
"""How long a failure that may follow from another one waits for its cause to be known."""
_REPORT_WORDS_MAX = 400
"""Characters, so that a report stays under PIPE_BUF (4,096 bytes): then a write is not torn."""
_FOREIGN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Variables that would make accelerate wrap the model by itself."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a rank is told: which one it is, and the ends of what ties it to the launcher."""

    directory: str
    attempt: int
    resume: str | None
    rank: int
    count: int
    port: int
    """On 127.0.0.1, where the ranks meet."""
    listener_fd: int | None
    """The listening socket of that port, for the first rank only."""
    report_fd: int
    """Where a rank writes why it fails."""
    launcher_fd: int
    """The read end of a pipe that ends with the launcher."""


def foreign_launcher_refuse() -> None:
    """Refuse to be one of somebody else's ranks; ConfigError says how to start instead."""
    if "LOCAL_RANK" in os.environ:
        message = "another launcher (torchrun, accelerate) started this engine as one of its ranks"
        cure = "Start `python -m training` alone and set ranks.processes: it starts its own ranks."
        raise ConfigError("LOCAL_RANK", message, cure)


def process_count(config: RunConfig) -> int:
    """Return how many processes share the run; ConfigError where there are too few GPUs."""
    wanted = config.ranks.processes
    gpus = 0 if config.device == "cpu" else _gpu_count()
    if wanted == AUTO:
        return max(1, gpus)
    count = int(wanted)
    if count > gpus and (gpus or config.device == "cuda"):
        message = f"{count} processes need as many GPUs, and {gpus} can be seen"
        raise ConfigError("ranks.processes", message, f"Use at most {max(1, gpus)}, or auto.")
    return count


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count()


def ranks_run(attempt: Attempt, config: RunConfig, count: int) -> None:
    """Start `count` ranks and see them through to the end of the first one.

    Raises StoppedError where they saved and stopped on request, and EngineError with the exit code
    and the words of the rank that failed first.
    """
    with Launch(attempt, count, gpus=config.device != "cpu" and _gpu_count() > 0) as launch:
        launch.follow()


class Launch:
    """The ranks of one attempt, running."""

    def __init__(
        self,
        attempt: Attempt,
        count: int,
        *,
        gpus: bool = False,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self._attempt = attempt
        self._reports: list[dict[str, Any]] = []
        self._unread = b""
        self._told_to_stop = False
        self._reading, report_fd = os.pipe()
        os.set_blocking(self._reading, False)
        launcher_fd, self._life = os.pipe()
        self.processes: list[subprocess.Popen] = []
        with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:
            try:
                for rank in range(count):
                    place = Place(
                        directory=str(attempt.job_directory),
                        attempt=attempt.number,
                        resume=None if attempt.resume is None else str(attempt.resume),
                        rank=rank,
                        count=count,
                        port=listener.getsockname()[1],
                        listener_fd=None if rank else listener.fileno(),
                        report_fd=report_fd,
                        launcher_fd=launcher_fd,
                    )
                    gpu = gpu_name(rank) if gpus else None
                    self.processes.append(_start(program, place, gpu))
            except BaseException:
                self.close()
                raise
            finally:
                os.close(report_fd)
                os.close(launcher_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def follow(self) -> None:
        """Wait for the end of the first rank, or for a failure; raises as `ranks_run` says."""
        while not self._ended():
            if self._attempt.stop.requested and not self._told_to_stop:
                self._told_to_stop = True
                self.processes[0].send_signal(signal.SIGTERM)  # it tells the others
            self._read_reports()
            if self._reports or any(p.poll() not in (None, DONE) for p in self.processes[1:]):
                self._fail()
            time.sleep(_POLL_SECONDS)

    def _ended(self) -> bool:
        """Whether the first rank is done. Raises where it has stopped or failed."""
        code = self.processes[0].poll()
        if code == STOPPED:
            raise StoppedError
        if code not in (None, DONE):
            self._fail()
        return code == DONE

    def _fail(self) -> None:
        """Raise the failure that came first, unless the first rank turns out to be at its end.

        A rank whose neighbour is gone fails too, with an error of its connection. So an error that
        nobody foresaw waits a little for one that is a cause: words with another exit code, or a
        rank that was killed and had no words.
        """
        deadline = time.monotonic() + _CAUSE_SECONDS
        while time.monotonic() < deadline:
            self._read_reports()
            for report in self._reports:
                if report["exit_code"] != FAILED:
                    raise _error_of(report)
            for rank, process in enumerate(self.processes):
                if (process.poll() or 0) < 0:
                    raise self._killed(rank, -process.returncode)
            code = self.processes[0].poll()
            if code == STOPPED:
                raise StoppedError
            if code == DONE:
                return
            time.sleep(_POLL_SECONDS)
        if self._reports:
            raise _error_of(self._reports[0])
        rank, code = next((r, c) for r, p in enumerate(self.processes) if (c := p.poll()))
        message = f"process {rank + 1} of {len(self.processes)} ended with exit code {code}"
        raise EngineError(FAILED, "engine", message, "See the log of this attempt.")

    def _killed(self, rank: int, number: int) -> EngineError:
        name = signal.Signals(number).name
        why = ", most often because memory ran out" if number == signal.SIGKILL else ""
        message = f"process {rank + 1} of {len(self.processes)} was killed ({name}){why}"
        cure = "Lower the longest example or examples_per_step, or free memory on the machine."
        return EngineError(128 + number, "engine", message, cure)

    def _read_reports(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._reading, 65536):
                self._unread += data
        *lines, self._unread = self._unread.split(b"\n")
        self._reports += [json.loads(line) for line in lines]

    def close(self) -> None:
        """End every rank that still runs, now, and wait for it."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        os.close(self._reading)
        os.close(self._life)


def _start(program: Sequence[str], place: Place, gpu: str | None) -> subprocess.Popen:
    """Start a rank with SIGTERM blocked, so that one that comes too early waits for its handler."""
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    # All ranks are on this machine: nothing has to listen on its network.
    environment |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    if gpu is None:
        # Layers are gathered into large blocks and given back again and again: in large pages that
        # takes the kernel a third of the time.
        environment["THP_MEM_ALLOC_ENABLE"] = "1"
    else:
        environment["CUDA_VISIBLE_DEVICES"] = gpu  # each rank has one GPU, its device 0
    descriptors = (place.listener_fd, place.report_fd, place.launcher_fd)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        return subprocess.Popen(
            [sys.executable, *program, json.dumps(asdict(place))],
            stdin=subprocess.DEVNULL,
            env=environment,
            pass_fds=[number for number in descriptors if number is not None],
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def gpu_name(rank: int) -> str:
    """Return a rank's GPU, of those that this process sees, as CUDA_VISIBLE_DEVICES says it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[rank].strip() if visible else str(rank)


def report_write(descriptor: int, failure: EngineError) -> None:
    """Say why a rank fails; a single write, so that reports of several ranks stay apart."""
    report = {
        "exit_code": failure.exit_code,
        "where": failure.where[:100],
        "message": failure.message[:_REPORT_WORDS_MAX],
        "cure": failure.cure[:_REPORT_WORDS_MAX],
        "metric": failure.metric,
    }
    os.write(descriptor, json.dumps(report, ensure_ascii=False).encode(errors="replace") + b"\n")


def _error_of(report: dict[str, Any]) -> EngineError:
    metric = report.pop("metric")
    return EngineError(**report, metric=metric)
