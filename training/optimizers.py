"""The optimizers, with parameter groups of our own.

APOLLO is the package apollo-torch (CC-BY-NC 4.0). Its scale stands under a square root, so the
update factor √(n/r) means scale n/r, which differs from shape to shape: hence a group for each.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from training.config import RunConfig
from training.forecast import is_projected

_BETAS = (0.9, 0.999)
_ADAM_EPSILON = 1e-8
_APOLLO_EPSILON = 1e-6
_PROJECTION_EVERY_STEPS = 200


def optimizer_create(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a recipe over the model's trainable parameters."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if config.method.name in ("apollo", "apollo_mini"):
        from apollo_torch import APOLLOAdamW

        groups = _apollo_groups(named, config)
        apollo: torch.optim.Optimizer = APOLLOAdamW(
            groups, lr=config.learning_rate, betas=_BETAS, eps=_APOLLO_EPSILON
        )
        return apollo
    groups = _plain_groups(named, config.weight_decay)
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=_BETAS, eps=_ADAM_EPSILON, fused=True
    )


def _plain_groups(named: list[tuple[str, nn.Parameter]], decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices decay, norms and biases never do."""
    matrices = [p for _, p in named if p.ndim >= 2]
    vectors = [p for _, p in named if p.ndim < 2]
    groups = [(matrices, decay), (vectors, 0.0)]
    return [{"params": params, "weight_decay": d} for params, d in groups if params]


def _apollo_groups(
    named: list[tuple[str, nn.Parameter]], config: RunConfig
) -> list[dict[str, Any]]:
    """Projected matrices by (rank, scale); embeddings, the head, norms and biases as AdamW's."""
    method = config.method
    projected: dict[tuple[int, float], list[nn.Parameter]] = {}
    plain = []
    for name, parameter in named:
        shape = tuple(parameter.shape)
        if is_projected(name, shape):
            key = (method.rank_of(shape), method.scale_of(shape))
            projected.setdefault(key, []).append(parameter)
        else:
            plain.append((name, parameter))
    groups = _plain_groups(plain, config.weight_decay)
    for (rank, scale), parameters in sorted(projected.items(), key=lambda item: item[0]):
        groups.append(
            {
                "params": parameters,
                "rank": rank,
                "scale": scale,
                "proj": "random",
                "proj_type": "std",
                "scale_type": "tensor" if method.name == "apollo_mini" else "channel",
                "update_proj_gap": _PROJECTION_EVERY_STEPS,
                "weight_decay": config.weight_decay,
            }
        )
    return groups


@contextmanager
def optimizer_state_loading(config: RunConfig) -> Iterator[None]:
    """Allow the one class that APOLLO's state holds beside tensors, and no other."""
    if config.method.name not in ("apollo", "apollo_mini"):
        yield
        return
    from apollo_torch.random_projector import GradientProjector

    with torch.serialization.safe_globals([GradientProjector]):
        yield


def projectors_to_device(optimizer: torch.optim.Optimizer) -> None:
    """Move APOLLO's projections to their parameters' devices; loading leaves them on the CPU."""
    for parameter, state in optimizer.state.items():
        projector = state.get("projector")
        if projector is not None and projector.ortho_matrix is not None:
            projector.ortho_matrix = projector.ortho_matrix.to(parameter.device)
