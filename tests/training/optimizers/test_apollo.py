"""Our APOLLO against the authors' package, and where it is better on purpose."""

import copy
import itertools
import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.distributed as dist
from apollo_torch import APOLLOAdamW
from apollo_torch.random_projector import GradientProjector
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.utils._python_dispatch import TorchDispatchMode

from engine.attempt import Attempt
from engine.process import StopRequest
from training.optimizers.apollo import GROWTH_MAX, Apollo, projection
from training.ranks.launch import Launch

CPU = torch.device("cpu")
SEED = 11
WIDE, TALL = (24, 40), (40, 24)
METHODS = {
    "apollo": {"rank": 8, "scale": 3.0, "scale_type": "channel"},
    "all of the rank": {"rank": 24, "scale": 1.0, "scale_type": "channel"},
    "apollo_mini": {"rank": 1, "scale": 128.0, "scale_type": "tensor"},
}


class OurProjector(GradientProjector):
    """The reference's projector with our projections in place of its own."""

    number = 0
    draw = 0

    def get_orthogonal_matrix(self, weights: Tensor, rank: int, type: str, seed: int) -> Tensor:
        drawn = projection(
            seed=SEED,
            draw=self.draw,
            matrix=self.number,
            side=min(weights.shape),
            rank=rank,
            device=CPU,
        )
        self.draw += 1
        return (drawn if type == "left" else drawn.T).to(weights.dtype)


class Reference(APOLLOAdamW):
    """apollo-torch, given our projections."""

    def _initialize_projector(self, group: Any, state: Any) -> GradientProjector:
        projector = OurProjector(
            group["rank"], update_proj_gap=group["update_proj_gap"], scale=group["scale"]
        )
        projector.number = state["seed"]  # it counts parameters as we do
        return projector


def parameters_make(
    *shapes: tuple[int, ...], dtype: torch.dtype = torch.float32
) -> list[nn.Parameter]:
    draw = torch.Generator().manual_seed(3)
    return [nn.Parameter(torch.randn(shape, generator=draw).to(dtype)) for shape in shapes]


def groups_make(parameters: list[nn.Parameter], method: str, **changes: Any) -> list[Any]:
    """A projected group of the matrices and a plain one of the rest."""
    matrices = [p for p in parameters if p.ndim == 2]
    projected = {"params": matrices, "update_proj_gap": 200, "proj": "random", "proj_type": "std"}
    return [
        {"params": [p for p in parameters if p.ndim != 2], "weight_decay": 0.0},
        {**projected, **METHODS[method], "weight_decay": 0.1, **changes},
    ]


def gradients_set(parameters: list[nn.Parameter], step: int) -> None:
    """The gradient of a quadratic bowl of uneven steepness, with noise that the step decides."""
    draw = torch.Generator().manual_seed(1000 + step)
    for parameter in parameters:
        noise = torch.randn(parameter.shape, generator=draw)
        steepness = torch.linspace(0.1, 3.0, parameter.shape[-1])
        parameter.grad = (parameter.detach() * steepness + 0.3 * noise).to(parameter.dtype)


@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["wide", "tall"])
@pytest.mark.parametrize("method", METHODS)
def test_it_follows_the_reference_over_500_steps(method: str, shape: tuple[int, int]) -> None:
    """Same projections, drawn three times: every weight within 1e-5 of how far the weights moved.

    The measure is the largest difference of one weight by the norm of the reference's whole change;
    both optimizers see the gradient at their own weights, so differences may grow.
    """
    ours, theirs = parameters_make(shape, (7,)), parameters_make(shape, (7,))
    start = [p.detach().clone() for p in theirs]
    own = Apollo(groups_make(ours, method), lr=0.003, seed=SEED)
    reference = Reference(groups_make(theirs, method), lr=0.003)
    for step in range(500):
        gradients_set(ours, step)
        gradients_set(theirs, step)
        own.step()
        reference.step()
        for mine, other, first in zip(ours, theirs, start, strict=True):
            moved = (other - first).norm().item()
            assert (mine - other).abs().max().item() <= 1e-5 * moved
    assert all(
        (p - first).norm() > 0.3 * first.norm() for p, first in zip(ours, start, strict=True)
    )


def test_only_the_references_second_moment_never_decays_in_bfloat16() -> None:
    """One large gradient, then tiny ones: 0.999 of v is nearer to v than to the number below it."""
    shape = (8, 16)
    (ours,) = parameters_make(shape, dtype=torch.bfloat16)
    (theirs,) = parameters_make(shape, dtype=torch.bfloat16)
    own = Apollo(groups_make([ours], "apollo"), lr=1e-5, seed=SEED)
    reference = Reference(groups_make([theirs], "apollo"), lr=1e-5)
    moments = []
    for step in range(400):
        for parameter, optimizer in ((ours, own), (theirs, reference)):
            parameter.grad = torch.full_like(parameter, 1.0 if step == 0 else 1e-6)
            optimizer.step()
        if step in (1, 199):  # before the second draw, which takes no part
            pair = own.state[ours]["exp_avg_sq"], reference.state[theirs]["exp_avg_sq"]
            moments.append([moment.float().clone() for moment in pair])
    (our_early, their_early), (our_late, their_late) = moments
    assert reference.state[theirs]["exp_avg_sq"].dtype == torch.bfloat16
    assert torch.equal(their_early, their_late), "nothing was forgotten in 198 steps"
    assert own.state[ours]["exp_avg_sq"].dtype == torch.float32
    torch.testing.assert_close(our_late, our_early * 0.999**198, rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_optimizer_takes_the_same_steps(method: str, dtype: torch.dtype) -> None:
    """Saved within a projection's time, at its very end, and resumed across the next draw."""
    shapes = (WIDE, TALL, (7,), (3, 4, 5))
    whole = parameters_make(*shapes, dtype=dtype)
    optimizer = Apollo(groups_make(whole, method, update_proj_gap=6), lr=0.01, seed=SEED)
    saved: dict[int, Any] = {}
    for step in range(20):
        if step in (4, 6):
            weights = [p.detach().clone() for p in whole]
            saved[step] = weights, copy.deepcopy(optimizer.state_dict())
        gradients_set(whole, step)
        optimizer.step()
    for begin, (weights, state) in saved.items():
        again = [nn.Parameter(weight.clone()) for weight in weights]
        resumed = Apollo(groups_make(again, method, update_proj_gap=6), lr=0.5, seed=99)
        resumed.load_state_dict(state)
        for step in range(begin, 20):
            gradients_set(again, step)
            resumed.step()
        assert all(torch.equal(a, b) for a, b in zip(again, whole, strict=True))
        moments = [value for kept in resumed.state.values() for value in kept.values()]
        assert all(m.dtype == torch.float32 for m in moments if isinstance(m, Tensor))


def test_a_state_is_tensors_and_whole_numbers(tmp_path: Path) -> None:
    parameters = parameters_make(WIDE, (7,))
    optimizer = Apollo(groups_make(parameters, "apollo"), lr=0.01)
    gradients_set(parameters, 0)
    optimizer.step()
    kept = [value for state in optimizer.state_dict()["state"].values() for value in state.values()]
    assert {type(value) for value in kept} == {Tensor, int}
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    assert torch.load(tmp_path / "optimizer.pt", weights_only=True)["state"].keys() == {0, 1}


def test_another_optimizers_state_is_refused() -> None:
    parameters = parameters_make(WIDE)
    adamw = torch.optim.AdamW(parameters)
    optimizer = Apollo(groups_make(parameters, "apollo")[1:], lr=0.01)
    with pytest.raises(ValueError, match="not of this optimizer"):
        optimizer.load_state_dict(adamw.state_dict())


@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["wide", "tall"])
def test_a_rank_above_the_smaller_side_means_that_side(shape: tuple[int, int]) -> None:
    weights = []
    for rank in (24, 256):
        parameters = parameters_make(shape)
        optimizer = Apollo(groups_make(parameters, "apollo", rank=rank)[1:], lr=0.01)
        for step in range(5):
            gradients_set(parameters, step)
            optimizer.step()
        assert sorted(optimizer.state[parameters[0]]["exp_avg"].shape) == [24, 40]
        weights.append(parameters[0])
    assert torch.equal(*weights)


@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["wide", "tall"])
@pytest.mark.parametrize("method", METHODS)
def test_each_matrix_of_a_stack_moves_as_if_it_were_alone(
    method: str, shape: tuple[int, int]
) -> None:
    """The experts of a layer are one parameter of three dimensions."""
    singles = parameters_make(shape, shape, shape)
    stack = nn.Parameter(torch.stack([one.detach() for one in singles]))
    alone = [
        Apollo(groups_make([one], method)[1:], lr=0.003, seed=SEED, weight_decay=0.1)
        for one in singles
    ]
    group = groups_make([], method)[1] | {"params": [stack]}
    together = Apollo([group], lr=0.003, seed=SEED)
    for step in range(20):
        gradients_set(singles, step)
        stack.grad = torch.stack([one.grad for one in singles if one.grad is not None])
        together.step()
        for optimizer in alone:
            optimizer.step()
    torch.testing.assert_close(
        stack, torch.stack([one.detach() for one in singles]), rtol=1e-5, atol=1e-6
    )
    rank = cast(int, METHODS[method]["rank"])
    assert together.state[stack]["exp_avg"].numel() == 3 * rank * max(shape)


def test_the_projection_has_variance_one_by_rank_and_differs_by_every_number() -> None:
    numbers = {"seed": 1, "draw": 2, "matrix": 3}
    first = projection(**numbers, side=300, rank=200, device=CPU)
    assert first.mean().item() == pytest.approx(0, abs=1e-3)
    assert first.var().item() == pytest.approx(1 / 200, rel=0.02)
    assert torch.equal(first, projection(**numbers, side=300, rank=200, device=CPU))
    for name in numbers:
        other = projection(**{**numbers, name: 7}, side=300, rank=200, device=CPU)
        assert not torch.equal(first, other)


def test_the_update_grows_by_one_percent_a_step_at_most() -> None:
    (parameter,) = parameters_make(WIDE)
    optimizer = Apollo(groups_make([parameter], "apollo_mini", weight_decay=0.0)[1:], lr=1.0)
    norms = []
    for step in range(8):
        gradients_set([parameter], step)
        assert parameter.grad is not None
        parameter.grad *= 10.0**step
        optimizer.step()
        norms.append(optimizer.state[parameter]["update_norm"].item())
    assert max(b / a for a, b in itertools.pairwise(norms)) == pytest.approx(GROWTH_MAX, rel=1e-5)


def test_a_gradient_of_zeros_does_not_hold_a_matrix_at_rest() -> None:
    """apollo-torch would let the next update be 1.01e-8 at most and grow from there."""
    moved = []
    for optimizer_class in (Apollo, APOLLOAdamW):
        (parameter,) = parameters_make(WIDE)
        optimizer = optimizer_class(groups_make([parameter], "apollo")[1:], lr=0.01)
        before = parameter.detach().clone()
        for value in (0.0, 1.0, 0.0, 1.0):
            parameter.grad = torch.full_like(parameter, value)
            optimizer.step()
        # The decay is the same for both; what is left is the gradient's doing.
        moved.append((parameter / (1 - 0.01 * 0.1) ** 4 - before).norm().item())
    assert moved[0] > 0.01
    assert moved[1] < 1e-4


def test_a_parameter_that_is_cut_along_two_axes_is_refused_by_name(tmp_path: Path) -> None:
    meeting = f"file://{tmp_path / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1, 1))
        whole, matrix = parameters_make(WIDE, WIDE)
        both = nn.Parameter(distribute_tensor(matrix.detach(), mesh, [Shard(0), Shard(1)]))
        group = {"params": [("first.weight", whole), ("deep.weight", both)], "rank": 4}
        with pytest.raises(ValueError, match=r"deep\.weight is cut as"):
            Apollo([group], lr=0.01)
    finally:
        dist.destroy_process_group()


CUTS: list[tuple[tuple[int, ...], int | None]] = [
    *((shape, axis) for shape in (WIDE, TALL, (25, 41), (41, 25)) for axis in (0, 1, None)),
    *(((5, *shape), 0) for shape in (WIDE, TALL)),
    ((4, 30), 0),
    ((7,), 0),
    ((7,), None),
]
"""Along the larger side and the smaller one, evenly and not, and a rank of three without rows."""


def stacks_make(parameters: list[Any], method: str) -> list[Any]:
    """A projected group of matrices and of stacks of them, and a plain one of the rest."""
    plain, projected = groups_make([], method, update_proj_gap=40)
    return [
        {**plain, "params": [p for p in parameters if p.ndim == 1]},
        {**projected, "params": [p for p in parameters if p.ndim > 1]},
    ]


def noise_set(parameters: list[nn.Parameter], step: int) -> None:
    """Gradients that the step alone decides, some larger than those before."""
    draw = torch.Generator().manual_seed(1000 + step)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=draw) * (1.0 + step % 7)


@pytest.mark.slow
def test_matrices_that_are_cut_over_processes_move_as_whole_ones(tmp_path: Path) -> None:
    """100 steps over three processes, with three draws of the projections, by every method."""
    shapes = [shape for shape, _ in CUTS]
    wanted = {"methods": list(METHODS), "steps": 100, "cuts": CUTS}
    (tmp_path / "cuts.json").write_text(json.dumps(wanted))
    attempt = Attempt(tmp_path, 0, None, StopRequest())
    with Launch(attempt, 3, program=("-m", "tests.training.optimizers.cut_program")) as launch:
        launch.follow()
    cut = torch.load(tmp_path / "cut.pt")
    for method in METHODS:
        ours = parameters_make(*shapes)
        start = [one.detach().clone() for one in ours]
        optimizer = Apollo(stacks_make(ours, method), lr=0.003, seed=SEED)
        for step in range(100):
            noise_set(ours, step)
            optimizer.step()
        weights = cut[method]["weights"]
        for pair, mine, other, first in zip(CUTS, weights, ours, start, strict=True):
            moved = (other - first).norm().item()
            assert (mine - other).abs().max().item() <= 1e-5 * moved, (method, pair)
        for number, kept in optimizer.state_dict()["state"].items():
            for key, value in kept.items():
                one = cut[method]["state"][number][key]
                torch.testing.assert_close(one, value, rtol=1e-4, atol=1e-6)


class NoWaiting(TorchDispatchMode):
    """Fails where a number is taken from a tensor, which on a GPU waits for all work before it."""

    FORBIDDEN = {
        torch.ops.aten._local_scalar_dense.default,
        torch.ops.aten.equal.default,
        torch.ops.aten.nonzero.default,
    }

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in self.FORBIDDEN, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", METHODS)
def test_a_step_never_waits_for_the_device(method: str) -> None:
    parameters = parameters_make(WIDE, TALL, (7,))
    optimizer = Apollo(groups_make(parameters, method, update_proj_gap=2), lr=0.01)
    reference = APOLLOAdamW(groups_make(parameters, method), lr=0.01)
    for step in range(4):
        gradients_set(parameters, step)
        with NoWaiting():
            optimizer.step()
    reference.step()
    with pytest.raises(AssertionError, match="waits for the device"), NoWaiting():
        reference.step()


def test_other_parameters_are_updated_as_adamw_does() -> None:
    """With AdamW's ε counted as apollo-torch counts it, the same steps as torch's own AdamW."""
    shapes = ((7,), (3, 4, 5))
    ours, theirs = parameters_make(*shapes), parameters_make(*shapes)
    groups = [{"params": ours[:1], "rank": 4}, {"params": ours[1:]}]
    own = Apollo(groups, lr=0.01, eps=1e-12)
    adamw = torch.optim.AdamW(theirs, lr=0.01, eps=1e-12, weight_decay=0.0)
    for step in range(50):
        for parameters, optimizer in ((ours, own), (theirs, adamw)):
            gradients_set(parameters, step)
            optimizer.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)
