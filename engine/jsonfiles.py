"""JSON files of which nobody knows who wrote them: bounded in size, depth and digits. No torch."""

import json
import math
from pathlib import Path
from typing import Any

DEPTH_MAX = 64
_DIGITS_MAX = 400


def json_file_read(path: Path, *, limit_bytes: int) -> Any:
    """Return the value in a JSON file; OSError where it cannot be read.

    Raises ValueError, saying what is wrong: too large, not JSON, nested too deep, with NaN, a
    number without end or a key that stands twice. Infinity is taken, as transformers writes it.
    """
    size_bytes = path.stat().st_size
    if size_bytes > limit_bytes:
        message = f"has {size_bytes:,} bytes, and at most {limit_bytes:,} are read"
        raise ValueError(message)
    with path.open("rb") as file:
        return json_decode(file.read(limit_bytes))


def json_decode(data: bytes) -> Any:
    """Return the value of a JSON text; ValueError as `json_file_read` says."""
    try:
        text = data.decode()
        value = _DECODER.decode(text)
    except UnicodeDecodeError:
        raise ValueError("is not JSON: its bytes are not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg}, line {error.lineno}") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _depth_check(value)
    return value


_TOO_DEEP = f"is nested more than {DEPTH_MAX} deep"


def _depth_check(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"has the key {twice[:80]!r} twice in one object")
    return value


def _whole(text: str) -> int:
    if len(text) > _DIGITS_MAX:
        raise ValueError(f"has a number of {len(text):,} digits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"has the number {text[:40]}, which is too large")
    return value


def _constant(name: str) -> float:
    if name == "NaN":
        raise ValueError("has NaN, which is not a number")
    return float(name)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole, parse_float=_float, parse_constant=_constant
)
