"""The key that seals the ledger, and the heads of its chains that are written beside the database.

Whoever can write into the database could hash a whole chain again; without the key no seal fits.
Whoever drops the newest entries leaves a chain that holds; the exported heads name what is missing.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from ftportal import environment


def _folder() -> Path:
    folder = Path(settings.FTPORTAL_DATA) / "ledger"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _key() -> bytes:
    """FTPORTAL_LEDGER_KEY, or a key that is made once in the data folder."""
    if given := environment.secret("FTPORTAL_LEDGER_KEY"):
        return given.encode()
    path = _folder() / "key"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_urlsafe(48).encode())
    return path.read_bytes()


def seal_of(entry_hash: str) -> str:
    """The seal of an entry's hash."""
    return hmac.new(_key(), entry_hash.encode(), hashlib.sha256).hexdigest()


def seal_fits(entry_hash: str, seal: str) -> bool:
    """Whether an entry was sealed with our key."""
    return hmac.compare_digest(seal_of(entry_hash), seal)


def head_export(record: dict[str, Any]) -> None:
    """Append the head of a chain to heads.jsonl, which nothing ever shortens."""
    descriptor = os.open(_folder() / "heads.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(json.dumps(record, sort_keys=True).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def heads_exported() -> Iterator[dict[str, Any]]:
    """Every head that was written, the oldest first."""
    path = _folder() / "heads.jsonl"
    if path.is_file():
        with path.open("rb") as file:
            yield from map(json.loads, file)
