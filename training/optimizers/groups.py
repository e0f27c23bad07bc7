"""Optimizers over groups of our own: what decays, what is projected and how."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from engine.tensornames import is_projected
from training.optimizers.apollo import Apollo

BETAS = (0.9, 0.999)
APOLLO_EPSILON = 1e-6
_ADAM_EPSILON = 1e-8
_PROJECTION_EVERY_STEPS = 200
Groups = list[dict[str, Any]]


def adamw_create(model: nn.Module, *, rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Return torch's AdamW over the trainable parameters."""
    groups = _plain_groups(_trained(model), weight_decay)
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, eps=_ADAM_EPSILON, fused=True)


def apollo_create(groups: Groups, *, rate: float, seed: int) -> torch.optim.Optimizer:
    """Return ftportal's APOLLO over `projected_groups`."""
    return Apollo(groups, lr=rate, betas=BETAS, eps=APOLLO_EPSILON, seed=seed)


def projected_groups(
    model: nn.Module,
    *,
    weight_decay: float,
    scale_type: str,
    stacks: bool,
    rank_and_scale: Callable[[tuple[int, ...]], tuple[int, float]],
) -> Groups:
    """Projected matrices by (rank, scale); embeddings, the head, norms and biases as AdamW's.

    scale_type: one of "channel" and "tensor". stacks: whether the optimizer projects the experts of
    a layer, which are one tensor; else they are updated as AdamW does. rank_and_scale: of a
    matrix's shape.
    """
    projected: dict[tuple[int, float], list[nn.Parameter]] = {}
    plain = []
    for name, parameter in _trained(model):
        shape = tuple(parameter.shape)
        if is_projected(name, shape) and (stacks or len(shape) == 2):
            projected.setdefault(rank_and_scale(shape), []).append(parameter)
        else:
            plain.append((name, parameter))
    groups = _plain_groups(plain, weight_decay)
    for (rank, scale), parameters in sorted(projected.items(), key=lambda item: item[0]):
        groups.append(
            {
                "params": parameters,
                "rank": rank,
                "scale": scale,
                "proj": "random",  # this and proj_type only apollo-torch reads
                "proj_type": "std",
                "scale_type": scale_type,
                "update_proj_gap": _PROJECTION_EVERY_STEPS,
                "weight_decay": weight_decay,
            }
        )
    return groups


def _trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def _plain_groups(named: list[tuple[str, nn.Parameter]], decay: float) -> Groups:
    """Two groups: matrices decay, norms and biases never do."""
    matrices = [p for _, p in named if p.ndim >= 2]
    vectors = [p for _, p in named if p.ndim < 2]
    groups = [(matrices, decay), (vectors, 0.0)]
    return [{"params": params, "weight_decay": d} for params, d in groups if params]
