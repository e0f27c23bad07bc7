"""The authors' package apollo-torch (CC-BY-NC 4.0), to compare with.

Its scale stands under a square root, as ours does.
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from engine.checks import ConfigError
from engine.packages import package_show
from training.optimizers.groups import APOLLO_EPSILON, BETAS, Groups


def apollo_torch_create(groups: Groups, rate: float) -> torch.optim.Optimizer:
    """Return the package's optimizer over `training.optimizers.groups.projected_groups`."""
    package_show("bitsandbytes")
    from apollo_torch import APOLLOAdamW

    optimizer: torch.optim.Optimizer = APOLLOAdamW(groups, lr=rate, betas=BETAS, eps=APOLLO_EPSILON)
    return optimizer


@contextmanager
def state_loading(*, own: bool) -> Iterator[None]:
    """Allow the one class that the package's state holds beside tensors, and no other.

    own: whether ftportal's APOLLO is to go on; ConfigError where the package wrote the state.
    """
    if own:
        try:
            yield
        except pickle.UnpicklingError as error:
            raise _implementation_error("apollo-torch") from error
        return
    package_show("bitsandbytes")
    from apollo_torch.random_projector import GradientProjector

    with torch.serialization.safe_globals([GradientProjector]):
        yield


def projections_move(optimizer: torch.optim.Optimizer) -> None:
    """Move the package's projections to their parameters' devices; loading leaves them on the CPU.

    ConfigError where the state was written by ftportal's APOLLO, which keeps no projections.
    """
    for parameter, state in optimizer.state.items():
        if "update_norm" in state:
            raise _implementation_error("ftportal")
        projector = state.get("projector")
        if projector is not None and projector.ortho_matrix is not None:
            projector.ortho_matrix = projector.ortho_matrix.to(parameter.device)


def _implementation_error(written_with: str) -> ConfigError:
    """The recipe and the state disagree, as where an old recipe names no implementation."""
    message = f"the state was written with {written_with}, and the other cannot go on from it"
    cure = f'Set it to "{written_with}" to go on from this state, or start the run again.'
    return ConfigError("method.implementation", message, cure)
