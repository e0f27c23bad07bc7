"""Text in a CSV that a spreadsheet will open."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def cell_safe(text: object) -> str:
    """A cell of text that people wrote: one that starts like a formula must not run."""
    words = str(text)
    return f"'{words}" if words.startswith(_FORMULA) else words


class Echo:
    """A file for `csv.writer` that hands each line back, so that a response can stream it."""

    def write(self, line: str) -> str:
        """The line itself."""
        return line
