"""What is read piece by piece is what lies on the disk, or breaks off before the end."""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import waitress
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftportal.handover import reader as module
from ftportal.handover.reader import CheckedReader, FileDamagedError, Part
from ftportal.handover.streaming import UnsatisfiableError, byte_range

PIECE = 64


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", PIECE)


@pytest.fixture
def parts(tmp_path: Path) -> list[Part]:
    made = []
    for number, size in enumerate((10, 0, 300, PIECE, 1)):
        content = os.urandom(size)
        path = tmp_path / f"file-{number}"
        path.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        made.append(Part(name=path.name, size_bytes=size, path=path, sha256=sha256))
        made.append(Part(size_bytes=5, content=b"=====", name="between"))
    return made


def whole(parts: list[Part]) -> bytes:
    return b"".join(part.path.read_bytes() if part.path else part.content for part in parts)


def read_all(reader: CheckedReader, size: int) -> bytes:
    return b"".join(iter(lambda: reader.read(size), b""))


def ignored(error: FileDamagedError) -> None:
    return None


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(data=st.data())
def test_every_range_is_read_as_it_lies_there(parts: list[Part], data: Any) -> None:
    content = whole(parts)
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, len(content)))
    reader = CheckedReader(parts, start, stop, ignored)
    reader.prepare()
    assert read_all(reader, data.draw(st.integers(1, 100))) == content[start:stop]
    assert reader.seek(0, 2) == stop - start
    reader.close()


def test_a_piece_is_read_twice_as_the_web_server_does(parts: list[Part]) -> None:
    reader, content = CheckedReader(parts, 0, len(whole(parts)), ignored), b""
    while seen := reader.read(40):  # look, go back, and skip what the client took
        reader.seek(reader.tell() - len(seen))
        content += reader.read(max(1, len(seen) // 2))
    assert content == whole(parts)


@pytest.mark.parametrize("change", ["flip", "cut", "grow", "gone"])
def test_a_changed_file_breaks_off_before_its_last_piece(parts: list[Part], change: str) -> None:
    path = parts[4].path
    assert path is not None
    content = bytearray(path.read_bytes())
    told: list[FileDamagedError] = []
    reader = CheckedReader(parts, 0, len(whole(parts)), told.append)
    before = reader.read(5)
    if change == "flip":
        content[2] ^= 1
    path.write_bytes(
        content[:200] if change == "cut" else content + b"moremore" * (change == "grow")
    )
    if change == "gone":
        path.unlink()
    if change == "grow":  # the bytes that were promised are those that are given
        assert before + read_all(reader, 33) == whole(parts).replace(b"moremore", b"")
        return
    with pytest.raises(FileDamagedError, match=r"file-2 was changed") as caught:
        before += read_all(reader, 33)
    assert caught.value.where == "file-2"
    assert len(before) < 20 + 300
    with pytest.raises(FileDamagedError):  # and it stays so, whoever asks again
        reader.read(1)
    assert told == [caught.value]


@pytest.mark.parametrize(("start", "stop"), [(150, 400), (0, 100), (150, 160)])
def test_a_range_within_a_changed_file_is_refused_beforehand(
    parts: list[Part], start: int, stop: int
) -> None:
    path = parts[4].path
    assert path is not None
    content = bytearray(path.read_bytes())
    content[3 if start else 250] ^= 1
    path.write_bytes(content)
    reader = CheckedReader(parts, start, stop, ignored)
    with pytest.raises(FileDamagedError):
        reader.prepare()
        read_all(reader, 50)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=50-500", (50, 100)),
        ("", None),
        ("bytes=-", None),
        ("bytes=9-1", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=0x1-", None),
    ],
)
def test_ranges_are_understood_or_ignored(header: str, wanted: tuple[int, int] | None) -> None:
    assert byte_range(header, 100) == wanted


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=-0", "bytes=999999-1000000"])
def test_ranges_behind_the_end_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(UnsatisfiableError):
        byte_range(header, 100)


@pytest.fixture
def large(tmp_path: Path) -> Part:
    path = tmp_path / "large"
    with path.open("wb") as file:
        for _ in range(24):
            file.write(os.urandom(1 << 20))
    return Part(
        name="large",
        size_bytes=24 << 20,
        path=path,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


@pytest.fixture
def address(large: Part, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """waitress with one thread: `/` answers at once, `/large` by the reader."""
    monkeypatch.setattr(module, "PIECE_BYTES", 1 << 18)

    def application(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/":
            start_response("200 OK", [("Content-Length", "2")])
            return [b"ok"]
        reader = CheckedReader([large], 0, large.size_bytes, ignored)
        start_response("200 OK", [("Content-Length", str(large.size_bytes))])
        return environ["wsgi.file_wrapper"](reader, 1 << 18)

    server = waitress.create_server(application, listen="127.0.0.1:0", threads=1)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield ("127.0.0.1", int(server.effective_port))
    server.close()
    server.task_dispatcher.shutdown()


def ask(address: tuple[str, int], path: str) -> socket.socket:
    client = socket.create_connection(address, timeout=30)
    client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    return client


def body(client: socket.socket) -> bytes:
    content = b"".join(iter(lambda: client.recv(1 << 16), b""))
    return content.partition(b"\r\n\r\n")[2]


def test_a_slow_download_costs_the_web_server_no_thread(
    address: tuple[str, int], large: Part
) -> None:
    slow = ask(address, "/large")
    slow.recv(1000)
    time.sleep(0.2)
    assert body(ask(address, "/")) == b"ok"  # the only thread is free
    rest = b"".join(iter(lambda: slow.recv(1 << 20), b""))
    assert large.path is not None
    assert rest.endswith(large.path.read_bytes()[-1000:])


def test_the_web_server_breaks_off_where_a_file_was_changed(
    address: tuple[str, int], large: Part
) -> None:
    assert large.path is not None
    with large.path.open("r+b") as file:
        file.seek(5 << 20)
        file.write(b"changed")
    got = body(ask(address, "/large"))
    assert 0 < len(got) < large.size_bytes
