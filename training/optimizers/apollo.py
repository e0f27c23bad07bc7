"""APOLLO and APOLLO-Mini from the paper's mathematics (Zhu et al., arXiv 2412.05270).

For a matrix's gradient G, n its smaller side, Algorithm 1 of the paper:

    R = PᵀG or GP            P an n × r matrix of N(0, 1/r), drawn again every so many steps (§4.1)
    R̃ = M / (√V + ε)         Adam's moments M and V of R; they are all that is kept
    s_j = ‖R̃_j‖ / ‖R_j‖      one factor a channel, along the larger side (APOLLO, §4.1)
    s = ‖R̃‖ / ‖R‖            one factor a matrix, with r = 1 (APOLLO-Mini, §4.2)
    W ← W − η·α·s·G          α = √scale; √(n/r) makes up for the projection, √128 for Mini's (§4.2)

and the norm of s·G may grow by 1 % a step at most (Fira's limiter, §4.1 and arXiv 2410.01623). Bias
correction stands in η, and weight decay is decoupled and comes after the update, both as in the
authors' package apollo-torch, which this follows to rounding. It differs on purpose: moments are
float32 whatever the weights are (in bfloat16 V·0.999 rounds back to V), and only the products with
P and s, which touch all of G, are taken in the weights' type; a step never waits for the
device; projections come from (seed, draw, matrix), so a state holds numbers and tensors only; and a
gradient of zeros does not count as an update, where apollo-torch would hold the matrix at rest for
thousands of steps.

Matrices may be cut over processes (FSDP2's DTensors). Cut along the larger side, a process projects
its own rows or columns by the same P, keeps their moments and finds their factors; all that it asks
the others for are norms, once a step for all matrices together. `training.optimizers.cut` says what
is different along the smaller side.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from training.optimizers.cut import Cut, squares_sum
from training.tensors.parts import held, part_like

GROWTH_MAX = 1.01
_NORM_EPSILON = 1e-8


def projection(
    *, seed: int, draw: int, matrix: int, side: int, rank: int, device: torch.device
) -> Tensor:
    """Return P of side × rank, float32, entries N(0, 1/rank); the same for the same numbers.

    draw: how often the matrix has been projected again. The numbers also depend on the kind of
    device, as all of torch's random numbers do.
    """
    digest = hashlib.blake2b(f"{seed}/{draw}/{matrix}".encode(), digest_size=4).digest()
    generator = torch.Generator(device).manual_seed(int.from_bytes(digest, "big"))
    drawn = torch.randn((side, rank), generator=generator, device=device, dtype=torch.float32)
    return drawn.mul_(rank**-0.5)


class Apollo(Optimizer):
    """APOLLO for matrices in groups with a `rank`; AdamW for everything else.

    A parameter of three dimensions there is a stack of matrices, such as the experts of a layer:
    one projection serves all of them, and each has its own factors.

    A group with a rank also has scale (the square of α), scale_type ("channel" for APOLLO or
    "tensor" for APOLLO-Mini) and update_proj_gap (steps between two draws of P). A rank above a
    matrix's smaller side means that side. Parameters may be given with their names.

    State of a parameter: step (int), exp_avg and exp_avg_sq (float32, of R's shape for a projected
    matrix) and, for that, update_norm (float32, no dimensions; of a stack one a matrix).
    """

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Take torch's groups of parameters; ValueError for an unknown scale, or for a parameter
        that is cut along several axes."""
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "rank": None,
            "scale": 1.0,
            "scale_type": "channel",
            "update_proj_gap": 200,
            "seed": seed,
        }
        super().__init__(params, defaults)
        self._projections: dict[Tensor, tuple[int, Tensor]] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a state; projections are drawn again from its seed and steps."""
        super().__setstate__(state)
        self._projections = {}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; ValueError names a parameter that is cut along several axes."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        if group["scale_type"] not in ("channel", "tensor"):
            raise ValueError(f"scale_type {group['scale_type']!r} is neither channel nor tensor")
        names = group.get("param_names") or [f"number {i}" for i in range(len(group["params"]))]
        for name, parameter in zip(names, group["params"], strict=True):
            Cut.of(parameter, name)

    def state_axis(self, parameter: Tensor, key: str) -> int | None:
        """Return the axis along which this tensor of a parameter's state is cut over processes."""
        cut = Cut.of(parameter)
        rank = next(
            g["rank"] for g in self.param_groups if any(p is parameter for p in g["params"])
        )
        if rank is None or parameter.ndim not in (2, 3):
            return cut.axis
        if key == "update_norm":
            return cut.axis if parameter.ndim == 3 else None
        return None if cut.is_of_smaller_side else cut.axis

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state; its moments stay float32, which torch would cast to the weights' type.

        ValueError where the state is another optimizer's.
        """
        if any("update_proj_gap" not in group for group in state_dict["param_groups"]):
            raise ValueError("the state is not of this optimizer")
        super().load_state_dict({**state_dict, "state": {}})
        numbers = [n for group in state_dict["param_groups"] for n in group["params"]]
        parameters = [p for group in self.param_groups for p in group["params"]]
        for number, parameter in zip(numbers, parameters, strict=True):
            for key, value in state_dict["state"].get(number, {}).items():
                kept = value.to(parameter.device) if isinstance(value, Tensor) else value
                self.state[parameter][key] = kept

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; return the closure's loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        number = 0
        projected: list[_Scaling] = []
        for group in self.param_groups:
            others: dict[Tensor, Tensor] = {}
            for parameter in group["params"]:
                number += 1
                if parameter.grad is None:
                    continue
                if group["rank"] is not None and parameter.ndim in (2, 3):
                    projected.append(self._scaling(parameter, parameter.grad, group, number))
                else:
                    others[parameter] = held(parameter.grad).float()
            if others:
                self._step_adamw(others, group)
        _norms_join(projected)
        for scaling in projected:
            _step_projected(scaling, self.state[scaling.parameter])
        return loss

    def _scaling(
        self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], number: int
    ) -> "_Scaling":
        """Project a matrix's gradient, or a stack's, and see what Adam does to it."""
        cut, own = Cut.of(parameter), held(gradient)
        wide = parameter.shape[-2] < parameter.shape[-1]
        state = self.state[parameter]
        matrix = self._projection(parameter, group, number, state.get("step", 0))
        matrix = cut.rows_of_smaller_side(matrix)
        low = cut.sum_if_of_smaller_side((matrix.T @ own if wide else own @ matrix).float())
        if not state:
            self._state_begin(parameter, low, cut)
        direction = _adam_direction(state, low, group)
        channels = -2 if wide else -1
        along = channels if group["scale_type"] == "channel" else (-2, -1)
        sizes = cut.norms_if_of_smaller_side(_norm(own, along))
        return _Scaling(
            parameter=parameter,
            gradient=own,
            group=group,
            cut=cut,
            norms=(_norm(direction, along), _norm(low, along), sizes),
        )

    def _state_begin(self, parameter: Tensor, low: Tensor, cut: Cut) -> None:
        """Begin with moments of zeros; each process keeps those of what it holds."""
        moments = _moments(low)
        for key in ("exp_avg", "exp_avg_sq"):
            moments[key] = cut.kept(moments[key], self.state_axis(parameter, key))
        stacked = parameter.ndim == 3
        norm = low.new_zeros((len(low), 1, 1) if stacked else ())
        moments["update_norm"] = cut.kept(norm, self.state_axis(parameter, "update_norm"))
        self.state[parameter].update(moments)

    def _projection(
        self, parameter: Tensor, group: dict[str, Any], number: int, steps_done: int
    ) -> Tensor:
        """Return the projection in force, drawn where the last one has served its steps."""
        draw = steps_done // group["update_proj_gap"]
        kept = self._projections.get(parameter)
        if kept is not None and kept[0] == draw:
            return kept[1]
        side = min(parameter.shape[-2:])
        drawn = projection(
            seed=group["seed"],
            draw=draw,
            matrix=number,
            side=side,
            rank=min(group["rank"], side),
            device=parameter.device,
        ).to(parameter.dtype)
        self._projections[parameter] = (draw, drawn)
        return drawn

    def _step_adamw(self, pairs: dict[Tensor, Tensor], group: dict[str, Any]) -> None:
        """Update vectors, embeddings and whatever else is not projected, as AdamW does.

        pairs: each parameter with its float32 gradient.
        """
        parameters, gradients = [held(parameter) for parameter in pairs], list(pairs.values())
        states = [self.state[parameter] for parameter in pairs]
        for state, (parameter, gradient) in zip(states, pairs.items(), strict=True):
            if not state:
                moments = _moments(gradient)
                for key in ("exp_avg", "exp_avg_sq"):
                    moments[key] = part_like(moments[key], parameter)
                state.update(moments)
            state["step"] += 1
        first = [held(state["exp_avg"]) for state in states]
        second = [held(state["exp_avg_sq"]) for state in states]
        beta1, beta2 = group["betas"]
        torch._foreach_lerp_(first, gradients, 1.0 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1.0 - beta2)
        roots = torch._foreach_sqrt(second)
        torch._foreach_add_(roots, group["eps"])
        sizes = [-_step_size(state, group) for state in states]
        torch._foreach_addcdiv_(parameters, first, roots, sizes)
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])


@dataclass(kw_only=True, eq=False)
class _Scaling:
    """What one matrix's update, or a stack's, is made of."""

    parameter: Tensor
    gradient: Tensor
    """What this process holds of it, as all of the following."""
    group: dict[str, Any]
    cut: Cut
    norms: tuple[Tensor, Tensor, Tensor]
    """Of R̃, R and G: a channel's each, or a matrix's."""

    @property
    def is_by_channel(self) -> bool:
        """Whether each channel has a factor, else each matrix."""
        return bool(self.group["scale_type"] == "channel")

    @property
    def factor(self) -> Tensor:
        """s of the paper; it broadcasts over what this process holds."""
        direction, low, _ = self.norms
        return direction / (low + _NORM_EPSILON)

    update_norm: Tensor | None = None
    """‖s·G‖ of the whole matrix where several processes hold it."""

    def norm(self) -> Tensor:
        """Return ‖s·G‖ from the norms of G's channels: s·G itself is never formed."""
        if self.update_norm is not None:
            return self.update_norm
        sizes = self.factor * self.norms[2]
        return torch.linalg.vector_norm(sizes, dim=(-2, -1), keepdim=self.gradient.ndim == 3)


def _norms_join(scalings: Sequence[_Scaling]) -> None:
    """Make norms of parts those of whole matrices: one message for all of them."""
    parts = [one for one in scalings if one.cut.is_of_larger_side]
    if not parts:
        return
    norms = [(one.norm(),) if one.is_by_channel else one.norms for one in parts]
    joined = iter(squares_sum([norm.reshape(()) for row in norms for norm in row], parts[0].cut))
    for one in parts:
        if one.is_by_channel:
            one.update_norm = next(joined)
        else:
            one.norms = next(joined), next(joined), next(joined)
            one.update_norm = one.factor * one.norms[2]


def _step_projected(scaling: _Scaling, state: dict[str, Any]) -> None:
    """Scale the gradient as its projection was, limit the growth, and move the matrix."""
    group, norm, before = scaling.group, scaling.norm(), held(state["update_norm"])
    growth = (norm / (before + _NORM_EPSILON)).clamp_(min=GROWTH_MAX) / GROWTH_MAX
    growth = torch.where(before > 0, growth, 1.0)
    before.copy_(torch.where(norm > 0, norm / growth, before))
    size = _step_size(state, group) * math.sqrt(group["scale"])
    parameter = held(scaling.parameter)
    # In the parameter's type, for a mixed product would be copied to float32 and back.
    parameter.addcmul_(scaling.gradient, (scaling.factor / growth).to(parameter.dtype), value=-size)
    if group["weight_decay"]:
        parameter.mul_(1.0 - group["lr"] * group["weight_decay"])


def _moments(like: Tensor) -> dict[str, Any]:
    zeros = {name: torch.zeros_like(like) for name in ("exp_avg", "exp_avg_sq")}
    return {"step": 0, **zeros}


def _adam_direction(state: dict[str, Any], low: Tensor, group: dict[str, Any]) -> Tensor:
    """Count the step, take `low` into its moments and return M / (√V + ε)."""
    beta1, beta2 = group["betas"]
    state["step"] += 1
    first, second = held(state["exp_avg"]), held(state["exp_avg_sq"])
    first.lerp_(low, 1.0 - beta1)
    second.mul_(beta2).addcmul_(low, low, value=1.0 - beta2)
    root = second.sqrt().add_(group["eps"])
    return torch.div(first, root, out=root)


def _norm(matrix: Tensor, along: int | tuple[int, int]) -> Tensor:
    return torch.linalg.vector_norm(matrix, dim=along, keepdim=True, dtype=torch.float32)


def _step_size(state: dict[str, Any], group: dict[str, Any]) -> float:
    """The rate with Adam's bias correction of this step."""
    beta1, beta2 = group["betas"]
    correction = math.sqrt(1.0 - beta2 ** state["step"]) / (1.0 - beta1 ** state["step"])
    return float(group["lr"]) * correction
