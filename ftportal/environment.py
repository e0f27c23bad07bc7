"""Read settings from environment variables; a value that cannot be meant refuses to start."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})


def boolean(name: str, *, default: bool) -> bool:
    """True or False from the variable `name`; raises ImproperlyConfigured on anything else."""
    text = os.environ.get(name)
    if text is None:
        return default
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ImproperlyConfigured(f"{name}={text!r} is neither true nor false: write true or false")


def integer(name: str, *, default: int, minimum: int = 0) -> int:
    """A whole number of at least `minimum` from the variable `name`."""
    text = os.environ.get(name)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={text!r} is not a whole number") from None
    if value < minimum:
        raise ImproperlyConfigured(f"{name}={value} is below its minimum, {minimum}")
    return value


def words(name: str, *, default: str) -> list[str]:
    """The comma-separated words of the variable `name`."""
    return [word.strip() for word in os.environ.get(name, default).split(",") if word.strip()]


def choice(name: str, *values: str) -> str:
    """One of `values` from the variable `name`; the first without it."""
    text = os.environ.get(name) or values[0]
    if text.lower() not in values:
        raise ImproperlyConfigured(f"{name}={text!r} is not one of {', '.join(values)}")
    return text.lower()


_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


def issuer(name: str) -> str:
    """The address of an OpenID provider from the variable `name`, without its last slash.

    Empty without it. Whatever answers there is believed: it must be HTTPS, but on this machine.
    """
    text = os.environ.get(name, "").strip().rstrip("/")
    if not text:
        return ""
    parts = urlsplit(text)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise ImproperlyConfigured(f"{name}={text!r} is not an address that begins with https://")
    if parts.scheme == "http" and parts.hostname not in _LOCAL:
        raise ImproperlyConfigured(f"{name}={text!r} must begin with https://")
    if len(text) > 200 or parts.query or parts.fragment:
        raise ImproperlyConfigured(f"{name}={text!r} is longer than 200 signs, or has ? or # in it")
    return text


def secret(name: str) -> str | None:
    """The variable `name`, or the content of the file that `name`_FILE names; None without both."""
    if value := os.environ.get(name):
        return value
    if path := os.environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE={path!r} cannot be read: {error}") from None
    return None
