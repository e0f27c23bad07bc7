"""What goes wrong in promotions, for people to read."""


class PromotionRefusedError(Exception):
    """The champion stays: `message` says why, `cure` what to do."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(f"{message} {cure}".strip())
        self.message = message
        self.cure = cure
