"""APOLLO-Mini (Zhu et al., arXiv 2412.05270, §4.2): rank 1, one factor a matrix."""

from engine.checks import ConfigError
from training.methods.apollo import Apollo
from training.methods.method import GRADIENTS, OPTIMIZER, Lever, Settings

_SCALE = 128.0
"""The paper's α² for rank 1."""


class ApolloMini(Apollo):
    """Tensor-wise scaling, rank 1."""

    key = "apollo_mini"
    name = "APOLLO-Mini"
    help = "APOLLO with rank 1: the least memory."
    order = 2
    default_rank = 1
    lever = Lever("use LoRA as method", (GRADIENTS, OPTIMIZER))
    scale_type = "tensor"

    def check(self, settings: Settings) -> None:
        """Refuse another rank too."""
        super().check(settings)
        if settings.rank not in (None, 1):
            raise ConfigError("method.rank", "APOLLO-Mini has rank 1", "Use apollo, or rank 1.")

    def scale_of(self, settings: Settings, shape: tuple[int, ...]) -> float:
        """Return 128 for every matrix, unless it was set."""
        return settings.scale or _SCALE

    def _projected_share(self, settings: Settings, shape: tuple[int, ...]) -> float:
        return self.scale_of(settings, shape) / min(shape[-2:])


METHOD = ApolloMini()
