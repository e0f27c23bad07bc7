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
"""

import hashlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

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
        """Take torch's groups of parameters; ValueError for a sharded one or an unknown scale."""
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
        """Add a group; ValueError names a sharded parameter: its projection would be wrong."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        if group["scale_type"] not in ("channel", "tensor"):
            raise ValueError(f"scale_type {group['scale_type']!r} is neither channel nor tensor")
        names = group.get("param_names") or [f"number {i}" for i in range(len(group["params"]))]
        for name, parameter in zip(names, group["params"], strict=True):
            if isinstance(parameter, DTensor):
                raise ValueError(
                    f"APOLLO needs whole matrices, and parameter {name} is a DTensor, sharded over "
                    "devices. Use AdamW or LoRA with sharding, or APOLLO with whole copies (DDP)."
                )

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
        for group in self.param_groups:
            others: dict[Tensor, Tensor] = {}
            for parameter in group["params"]:
                number += 1
                if parameter.grad is None:
                    continue
                if group["rank"] is not None and parameter.ndim in (2, 3):
                    self._step_projected(parameter, parameter.grad, group, number)
                else:
                    others[parameter] = parameter.grad.float()
            if others:
                self._step_adamw(others, group)
        return loss

    def _step_projected(
        self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], number: int
    ) -> None:
        """Scale a matrix's gradient, or a stack's, by what Adam does to its projection."""
        rows, columns = gradient.shape[-2:]
        stacked = gradient.ndim == 3
        state = self.state[parameter]
        matrix = self._projection(parameter, group, number, state.get("step", 0))
        low = (matrix.T @ gradient if rows < columns else gradient @ matrix).float()
        if not state:
            empty = low.new_zeros((len(low), 1, 1) if stacked else ())
            state.update(_moments(low), update_norm=empty)
        direction = _adam_direction(state, low, group)

        channels = -2 if rows < columns else -1
        along = channels if group["scale_type"] == "channel" else (-2, -1)
        factor = _norm(direction, along) / (_norm(low, along) + _NORM_EPSILON)
        # ‖s·G‖ from the norms of G's channels: s·G itself is never formed.
        sizes = factor * _norm(gradient, along)
        norm = torch.linalg.vector_norm(sizes, dim=(-2, -1), keepdim=stacked)
        before = state["update_norm"]
        growth = (norm / (before + _NORM_EPSILON)).clamp_(min=GROWTH_MAX) / GROWTH_MAX
        growth = torch.where(before > 0, growth, 1.0)
        state["update_norm"] = torch.where(norm > 0, norm / growth, before)

        size = _step_size(state, group) * math.sqrt(group["scale"])
        # In the parameter's type, for a mixed product would be copied to float32 and back.
        parameter.addcmul_(gradient, (factor / growth).to(parameter.dtype), value=-size)
        if group["weight_decay"]:
            parameter.mul_(1.0 - group["lr"] * group["weight_decay"])

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
        parameters, gradients = list(pairs), list(pairs.values())
        states = [self.state[parameter] for parameter in parameters]
        for state, gradient in zip(states, gradients, strict=True):
            if not state:
                state.update(_moments(gradient))
            state["step"] += 1
        first = [state["exp_avg"] for state in states]
        second = [state["exp_avg_sq"] for state in states]
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


def _moments(like: Tensor) -> dict[str, Any]:
    zeros = {name: torch.zeros_like(like) for name in ("exp_avg", "exp_avg_sq")}
    return {"step": 0, **zeros}


def _adam_direction(state: dict[str, Any], low: Tensor, group: dict[str, Any]) -> Tensor:
    """Count the step, take `low` into its moments and return M / (√V + ε)."""
    beta1, beta2 = group["betas"]
    state["step"] += 1
    state["exp_avg"].lerp_(low, 1.0 - beta1)
    state["exp_avg_sq"].mul_(beta2).addcmul_(low, low, value=1.0 - beta2)
    root = state["exp_avg_sq"].sqrt().add_(group["eps"])
    return torch.div(state["exp_avg"], root, out=root)


def _norm(matrix: Tensor, along: int | tuple[int, int]) -> Tensor:
    return torch.linalg.vector_norm(matrix, dim=along, keepdim=True, dtype=torch.float32)


def _step_size(state: dict[str, Any], group: dict[str, Any]) -> float:
    """The rate with Adam's bias correction of this step."""
    beta1, beta2 = group["betas"]
    correction = math.sqrt(1.0 - beta2 ** state["step"]) / (1.0 - beta1 ** state["step"])
    return float(group["lr"]) * correction
