"""Pieces of Markdown out of what people typed."""

from datetime import UTC, datetime
from typing import Any


def inline(text: Any) -> str:
    """Text as itself within a line or a cell: it ends no cell and makes no markup."""
    words = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{sign}" if sign in "\\|`*_[]#" else sign for sign in words)


def day(moment: datetime) -> str:
    """A date, the same wherever the portal stands."""
    return f"{moment.astimezone(UTC):%Y-%m-%d}"


def minute(moment: datetime) -> str:
    """A date and time."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
