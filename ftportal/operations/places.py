"""Where things lie and listen on one machine: folders, the secret key, the lock, sockets, ports."""

import fcntl
import grp
import os
import secrets
import socket
import tempfile
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

DEFAULT_PORT = 8000
PORTS_TRIED = 50
SOCKET_PATH_LIMIT_BYTES = 100
"""A Unix socket's path may have 107 bytes on Linux."""


class SetupError(Exception):
    """The portal cannot be started; the text says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the web server listens."""

    host: str
    port: int

    @property
    def bind(self) -> str:
        """As the web server wants it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
        host = everywhere.get(self.host, self.host)
        return f"http://{Address(host=host, port=self.port).bind}/"


def address_wanted(text: str) -> Address:
    """FTPORTAL_BIND: "host", "host:port", ":port" or "[v6]:port"; empty means loopback."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, port = text.strip(), ""
    if port and not (port.isdigit() and 0 < int(port) < 65536):
        raise SetupError(f"FTPORTAL_BIND={text!r}: {port!r} is not a port. Write host:port.")
    return Address(host=host.strip("[]") or "127.0.0.1", port=int(port or DEFAULT_PORT))


def address_free(wanted: Address) -> Address:
    """The wanted address, or the next port up that nobody listens on."""
    last = min(wanted.port + PORTS_TRIED, 65536)
    for port in range(wanted.port, last):
        if _is_free(wanted.host, port):
            return Address(host=wanted.host, port=port)
    raise SetupError(
        f"No port from {wanted.port} to {last - 1} is free on {wanted.host}. "
        "Name another with FTPORTAL_BIND=host:port."
    )


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror as error:
            message = f"FTPORTAL_BIND: {host!r} is not an address of this machine."
            raise SetupError(message) from error
        except OSError:
            return False
    return True


def data_folder(path: Path) -> Path:
    """The folder for everything the portal keeps, made where it is missing."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / "logs").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"{path} cannot be made: {error}. Name another in FTPORTAL_DATA."
        ) from error
    return path


def wide_paths(folder: Path, serving_group: str = "") -> list[Path]:
    """Files and folders below a folder, itself too, that others than their owner can use.

    What FTPORTAL_SERVING_GROUP was given on purpose does not count.
    """
    serving = grp.getgrnam(serving_group).gr_gid if serving_group else None

    def is_wide(state: os.stat_result) -> bool:
        return bool(state.st_mode & (0o007 if state.st_gid == serving else 0o077))

    paths = [
        folder,
        *(Path(root) / name for root, *rest in os.walk(folder) for name in chain(*rest)),
    ]
    return [path for path in paths if not path.is_symlink() and is_wide(path.lstat())]


def folder_lock(folder: Path) -> IO[str]:
    """Keep a second portal out of this folder while the returned file is open."""
    file = (folder / "run.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        pid = file.read().strip()
        raise SetupError(
            f"A portal already runs from {folder} (process {pid}). Stop it first, or give this "
            "one a folder of its own with FTPORTAL_DATA."
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def secret_key_file(folder: Path) -> Path:
    """A file with a secret key that only its owner can read; made once."""
    path = folder / "secret_key"
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(50))
        partial.rename(path)
    return path


def redis_socket(folder: Path) -> Path:
    """Where Redis listens: in the folder, or in a new temporary one where that path is too long."""
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT_BYTES:
        return path
    return Path(tempfile.mkdtemp(prefix="ftportal-")) / "redis.sock"
