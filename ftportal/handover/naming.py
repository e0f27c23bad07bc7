"""Names for files and folders, out of names that people chose."""

import re


def safe_name(text: str, fallback: str = "model") -> str:
    """A name of letters, digits, dots, dashes and underscores, at most 80 long.

    It needs no quotes in any shell and means no other folder: it never begins with a dot or dash.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text)
    name = re.sub(r"-{2,}", "-", name)[:80].strip("-._")
    return name or fallback
