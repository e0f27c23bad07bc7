"""The base of every error that is written for people: what is wrong, where, and what to do."""


class ProblemError(Exception):
    """Something is wrong that a person can mend.

    `message` says what is wrong, `cure` what to do about it (empty where nothing can be done), and
    `where` names the field, file or line (empty where the message says it already).
    """

    def __init__(self, message: str, cure: str = "", *, where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure
        self.where = where

    def __str__(self) -> str:
        """One line: where, what is wrong, and the cure."""
        said = f"{self.where}: {self.message}" if self.where else self.message
        if self.cure and not said.endswith((".", "?", "!", "…")):
            said += "."
        return f"{said} {self.cure}".rstrip()


class PlacedError(ProblemError):
    """A problem that always has a place: `where` comes first."""

    def __init__(self, where: str, message: str, cure: str) -> None:
        super().__init__(message, cure, where=where)
