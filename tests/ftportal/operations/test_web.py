"""The web server against clients that dribble, and what it refuses."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ftportal.operations.web import THREADS
from tests.ftportal.jobs.processes import BASE, wait_for

DRIBBLERS = 50
PAGE_SECONDS_MAX = 1.0


@pytest.fixture
def address(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A web server of its own on an empty folder: its host and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FTPORTAL_")},
        "DJANGO_SETTINGS_MODULE": "ftportal.settings",
        "FTPORTAL_DATA": str(tmp_path),
        "FTPORTAL_HTTPS": "false",
        "FTPORTAL_SECRET_KEY": "for-tests-only",
        "FTPORTAL_SEED": "false",
    }
    manage = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(manage, cwd=BASE, env=environment, check=True)
    command = [sys.executable, "-m", "ftportal.operations.web", "--bind", f"127.0.0.1:{port}"]
    server = subprocess.Popen(command, cwd=BASE, env=environment)

    def listens() -> bool:
        assert server.poll() is None
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    wait_for(listens, why="the web server")
    yield "127.0.0.1", port
    server.terminate()
    assert server.wait(10) == 0


def page_seconds(host: str, port: int) -> float:
    began = time.monotonic()
    with urllib.request.urlopen(f"http://{host}:{port}/login/", timeout=30) as answer:
        assert b"Log in" in answer.read()
    return time.monotonic() - began


@pytest.mark.slow
def test_fifty_clients_that_dribble_leave_pages_fast(address: tuple[str, int]) -> None:
    assert DRIBBLERS > THREADS
    page_seconds(*address)  # the first page compiles templates
    heads = (
        b"GET /login/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
    )
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(address)) for _ in range(DRIBBLERS)]
        for number, client in enumerate(clients):
            client.sendall(heads[number % 2])
        times = []
        for _ in range(5):
            for client in clients:
                client.sendall(b"x")
            times.append(page_seconds(*address))
            time.sleep(0.2)
        assert max(times) < PAGE_SECONDS_MAX, times


@pytest.mark.slow
def test_a_head_or_a_body_that_is_too_large_is_refused(address: tuple[str, int]) -> None:
    def status(request: bytes) -> bytes:
        with socket.create_connection(address) as client:
            client.settimeout(10)
            client.sendall(request)
            return client.recv(200).split(b"\r\n")[0]

    head = b"GET /login/ HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 80_000 + b"\r\n\r\n"
    assert b" 431 " in status(head)
    body = b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000000\r\n\r\n"
    assert b" 413 " in status(body)
