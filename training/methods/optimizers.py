"""The optimizers, with parameter groups of our own.

APOLLO is training/methods/apollo.py, or the authors' package apollo-torch (CC-BY-NC 4.0) as the
reference. Both take a scale that stands under a square root, so the update factor √(n/r) means
scale n/r, which differs from shape to shape: hence a group for each.
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from engine.checks import ConfigError
from engine.packages import package_show
from engine.tensornames import is_projected
from training.config import APOLLO_METHODS, RunConfig
from training.methods.apollo import Apollo

_BETAS = (0.9, 0.999)
_ADAM_EPSILON = 1e-8
_APOLLO_EPSILON = 1e-6
_PROJECTION_EVERY_STEPS = 200


def optimizer_create(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a recipe over the model's trainable parameters."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if config.method.name in APOLLO_METHODS:
        return _apollo_create(_apollo_groups(named, config), config)
    groups = _plain_groups(named, config.weight_decay)
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=_BETAS, eps=_ADAM_EPSILON, fused=True
    )


def _apollo_create(groups: list[dict[str, Any]], config: RunConfig) -> torch.optim.Optimizer:
    rate = config.learning_rate
    if config.method.implementation == "ftportal":
        return Apollo(groups, lr=rate, betas=_BETAS, eps=_APOLLO_EPSILON, seed=config.seed)
    package_show("bitsandbytes")
    from apollo_torch import APOLLOAdamW

    reference: torch.optim.Optimizer = APOLLOAdamW(
        groups, lr=rate, betas=_BETAS, eps=_APOLLO_EPSILON
    )
    return reference


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
                "proj": "random",  # this and proj_type only apollo-torch reads
                "proj_type": "std",
                "scale_type": "tensor" if method.name == "apollo_mini" else "channel",
                "update_proj_gap": _PROJECTION_EVERY_STEPS,
                "weight_decay": config.weight_decay,
            }
        )
    return groups


@contextmanager
def optimizer_state_loading(config: RunConfig) -> Iterator[None]:
    """Allow the one class that apollo-torch's state holds beside tensors, and no other.

    ConfigError where the state was written by apollo-torch and the recipe says ftportal.
    """
    if config.method.implementation != "apollo-torch":
        try:
            yield
        except pickle.UnpicklingError as error:
            raise _implementation_error("apollo-torch") from error
        return
    package_show("bitsandbytes")
    from apollo_torch.random_projector import GradientProjector

    with torch.serialization.safe_globals([GradientProjector]):
        yield


def projectors_to_device(optimizer: torch.optim.Optimizer, config: RunConfig) -> None:
    """Move apollo-torch's projections to their parameters' devices; loading leaves them on the CPU.

    ConfigError where the state was written by ftportal's APOLLO, which keeps no projections.
    """
    if config.method.implementation != "apollo-torch":
        return
    for parameter, state in optimizer.state.items():
        if "update_norm" in state:
            raise _implementation_error("ftportal")
        projector = state.get("projector")
        if projector is not None and projector.ortho_matrix is not None:
            projector.ortho_matrix = projector.ortho_matrix.to(parameter.device)


def _implementation_error(found: str) -> ConfigError:
    """The recipe and the state disagree, as where an old recipe names no implementation."""
    message = f"the state was written with {found}, and the other implementation cannot go on"
    cure = f'Set it to "{found}" to go on from this state, or start the run again.'
    return ConfigError("method.implementation", message, cure)
