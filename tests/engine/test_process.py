"""What ties an engine process to its supervisor, with real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

CHILD = """
import sys, time
from engine.process import StopRequest, supervise_self
stop = StopRequest().install()
supervise_self(int(sys.argv[1]) if len(sys.argv) > 1 else None)
print("ready", flush=True)
while not stop.requested:
    time.sleep(0.01)
print("asked", flush=True)
"""

SUPERVISOR = """
import os, subprocess, sys, time
read_end, write_end = os.pipe()
child = subprocess.Popen(
    [sys.executable, "-c", sys.argv[1], str(read_end)],
    pass_fds=(read_end,), start_new_session=True, stdout=subprocess.PIPE,
)
os.close(read_end)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def _is_alive(process_id: int) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def _wait_until_dead(process_id: int) -> bool:
    deadline = time.monotonic() + 10
    while _is_alive(process_id) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not _is_alive(process_id)


def test_sigterm_sets_the_flag_and_nothing_else() -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGTERM)
    output, _ = child.communicate(timeout=10)
    assert output == "asked\n"
    assert child.returncode == 0


def test_the_engine_dies_with_a_killed_supervisor() -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, CHILD], stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    engine = int(supervisor.stdout.readline())
    assert _is_alive(engine)
    supervisor.kill()
    supervisor.wait()
    assert _wait_until_dead(engine)


def test_the_end_of_the_pipe_alone_is_enough() -> None:
    read_end, write_end = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(read_end)],
        pass_fds=(read_end,),
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(read_end)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    os.close(write_end)
    assert child.wait(timeout=10) == -signal.SIGKILL
