"""What goes wrong in reviews, for people to read."""


class ReviewRefusedError(Exception):
    """A vote, plan or decision is not possible: `message` says why, `cure` what to do."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(f"{message} {cure}".strip())
        self.message = message
        self.cure = cure
