"""Keeps the last weights at which general text was within the limit, and gives them back."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.tensorfiles import header_read
from training.tensors.files import tensors_write
from training.tensors.parts import cut_axis, held, held_slices, part_like, whole_tensor
from training.tensors.reading import slices_fill

_WEIGHTS_NAME = "kept.safetensors"
_RECORD_NAME = "kept.json"


@dataclass(frozen=True, kw_only=True)
class Braked:
    """Why a session was stopped, and what was kept."""

    step: int
    kept_step: int
    """0: the parent's own weights."""
    probe_key: str
    probe_name: str
    rise: float | None
    """Of its perplexity over the parent's, as a share; None where it was not a number any more."""
    limit: float

    def to_json(self) -> dict[str, Any]:
        """Return the summary's `brake`."""
        return {
            "step": self.step,
            "kept_step": self.kept_step,
            "probe": self.probe_name,
            "probe_key": self.probe_key,
            "rise": self.rise,
            "limit": self.limit,
        }

    def words(self) -> str:
        """Return the warning."""
        rise = "was not a number any more"
        if self.rise is not None:
            rise = f"had risen by {100 * self.rise:.1f} %"
        kept = f"those of step {self.kept_step}" if self.kept_step else "the parent's own"
        return (
            f"after step {self.step} the perplexity of {self.probe_name} {rise}, past the limit of "
            f"{100 * self.limit:.1f} %: the session was stopped, and the weights that were kept "
            f"are {kept}"
        )


class KeptWeights:
    """A copy of the trained weights, or of the parts that this process holds, in the computer's
    memory.

    A state of another step than the copy's holds the copy too, so that a resumed session keeps what
    an uninterrupted one would.
    """

    def __init__(self, model: nn.Module) -> None:
        """Keep the weights that the model has before the first step."""
        self._trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._copy = {
            name: held(p.detach()).to("cpu", copy=True).contiguous()
            for name, p in self._trained.items()
        }
        self.step = 0
        self.rate_sum = 0.0
        """Σ of the rates of all steps up to the copy's."""

    def keep(self, step: int, rate_sum: float) -> None:
        """Copy the weights as they are after this step."""
        for name, parameter in self._trained.items():
            self._copy[name].copy_(held(parameter.detach()))
        self.step, self.rate_sum = step, rate_sum

    @torch.no_grad()
    def restore(self) -> None:
        """Give the model the weights of the copy."""
        for name, parameter in self._trained.items():
            held(parameter).copy_(self._copy[name])

    def state_write(self, directory: Path | None, step: int) -> None:
        """Add to a state what `state_read` needs: the copy, unless it is that of the state. Without
        a directory only take part in gathering."""
        if step == self.step:
            return

        def whole(name: str) -> torch.Tensor:
            """Gather one, on the device, where messages between processes go."""
            parameter = self._trained[name]
            tensor: torch.Tensor = whole_tensor(
                part_like(self._copy[name].to(parameter.device), parameter)
            )
            return tensor

        tensors_write(directory and directory / _WEIGHTS_NAME, self._trained, whole)
        if directory is not None:
            record = {"step": self.step, "rate_sum": self.rate_sum}
            (directory / _RECORD_NAME).write_text(json.dumps(record))

    def state_read(self, directory: Path, step: int, rate_sum: float) -> None:
        """Take over the copy of a state; the model has the state's weights, which are those of
        `step` and the copy where the state holds no other one."""
        if not (directory / _RECORD_NAME).is_file():
            self.keep(step, rate_sum)
            return
        record = json.loads((directory / _RECORD_NAME).read_bytes())
        self.step, self.rate_sum = record["step"], record["rate_sum"]
        places = header_read(directory / _WEIGHTS_NAME)
        for name, parameter in self._trained.items():
            slices = held_slices(parameter.shape, cut_axis(parameter), parameter)
            slices_fill(self._copy[name], slices, places[name])
