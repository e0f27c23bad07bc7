"""What a session measures of itself beside its loss."""

from dataclasses import dataclass

from engine.checks import ConfigError, number_check

_SWITCHES = ("gradient_sparsity", "gradient_cosine", "change_rank", "sharpness")


@dataclass(frozen=True, kw_only=True)
class DiagnosticsConfig:
    """What a session measures of itself beside its loss; the weights are the same without it."""

    gradient_sparsity: bool = True
    """The share of small entries, and of rows of them, in the gradient."""
    gradient_cosine: bool = True
    """Between the frozen and the full gradient of an example; of frozen context only. Never where
    one measurement takes more than its share of the session."""
    change_rank: bool = True
    """The effective rank of every matrix's change: of the middle layer now and then, of all at the
    end."""
    sharpness: bool = True
    """How sharply the loss bends along the steps; not in bfloat16."""
    diagnostics_share: float = 0.05
    """Of the session's time, what each of these and displacement may take at most; what takes
    longer is measured seldom."""

    def __post_init__(self) -> None:
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                where = f"diagnostics.{name}"
                raise ConfigError(where, "is neither true nor false", "Write true or false.")
        number_check(
            "diagnostics.diagnostics_share", self.diagnostics_share, above=True, maximum=1.0
        )
