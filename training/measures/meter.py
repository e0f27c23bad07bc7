"""What a run measures of itself while it trains, and what it sums up at the end."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch

from engine.attempt import Attempt
from training.config import RunConfig
from training.measures.budget import SHARE, Budget
from training.measures.displacement import Displacement, Reference
from training.ranks.group import Ranks
from training.samples import Curriculum, Sample
from training.tensors.mapping import TensorMap

_MEASURE_EVERY_STEPS = 5


@dataclass(kw_only=True)
class Totals:
    """Counts over the whole run, carried through every resume."""

    examples: int = 0
    decision_tokens: int = 0
    context_tokens: int = 0
    seconds: float = 0.0
    """Of the steps themselves."""
    session_seconds: float = 0.0
    """Of everything after loading: what is looked at before the first step, steps, looks, what is
    measured, saving; of attempts that were cut off, up to the state that was gone on from."""
    rate_sum: float = 0.0
    """Σ of every step's rate: displacement ÷ this is the mean update norm."""
    losses: dict[str, float] = field(default_factory=dict)
    """Last loss in nats by batch key."""
    diagnostics: dict[str, list[float]] = field(default_factory=dict)
    """[sum, count] of every value that is not measured after each step, by its metric's name."""

    def to_json(self) -> dict[str, Any]:
        """Return what `Totals(**...)` reads back."""
        return asdict(self)


class StepMeter:
    """Sums one step's losses, by batch and by kind: numerators and denominators apart."""

    def __init__(self) -> None:
        self._nll: dict[str, float] = {}
        self._tokens: dict[str, int] = {}
        self.context_tokens = 0
        self.examples = 0
        self.extras: dict[str, float] = {}
        """Other values of the step, by the name of their metric."""
        self.started = time.monotonic()
        self._aside_seconds = 0.0

    def add(self, sample: Sample, nll_sum: float, token_count: int) -> None:
        """Count the loss of one decision of a sample, in nats."""
        for name in ("", f"/batch/{sample.batch_key}", f"/kind/{sample.kind}"):
            self._nll[name] = self._nll.get(name, 0.0) + nll_sum
            self._tokens[name] = self._tokens.get(name, 0) + token_count

    def combine(self, ranks: Ranks) -> None:
        """Add what the other ranks counted, so that this is the whole step. All ranks must call."""
        if ranks.alone:
            return
        own: dict[str, float] = {"context": self.context_tokens, "examples": self.examples}
        own |= {f"nll{name}": value for name, value in self._nll.items()}
        own |= {f"tokens{name}": value for name, value in self._tokens.items()}
        sums = ranks.sums(own)
        self.context_tokens, self.examples = int(sums.pop("context")), int(sums.pop("examples"))
        names = {name.removeprefix("nll") for name in sums if name.startswith("nll")}
        self._nll = {name: sums[f"nll{name}"] for name in sorted(names)}
        self._tokens = {name: int(sums[f"tokens{name}"]) for name in sorted(names)}

    def example_done(self, sample: Sample) -> None:
        """Count a sample whose decisions were all added."""
        self.examples += 1
        self.context_tokens += sample.encoded.context_token_count

    @property
    def decision_tokens(self) -> int:
        """Tokens that got gradient in this step."""
        return self._tokens.get("", 0)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take time that is not the step's own, such as a measurement's."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._aside_seconds += time.monotonic() - started

    @property
    def seconds(self) -> float:
        """Time since this step began, without what was spent aside."""
        return time.monotonic() - self.started - self._aside_seconds

    @property
    def nll_sum(self) -> float:
        """The step's loss before division, in nats."""
        return self._nll.get("", 0.0)

    def losses(self) -> dict[str, float | None]:
        """Return the mean loss in nats a decision token: of the step, each batch and each kind."""
        return {f"loss_nats{name}": self._nll[name] / self._tokens[name] for name in self._nll}


class DisplacementMeter:
    """Measures displacement from parent and anchor, seldom enough to stay cheap."""

    def __init__(
        self, parent: Reference | None, anchor: Reference | None, same: bool, share: float = SHARE
    ) -> None:
        """same: whether the anchor is the parent itself. share: of the session's time, at most."""
        self.parent = parent
        self._anchor = anchor
        self._same = same
        self._budget = Budget(every_steps=_MEASURE_EVERY_STEPS, share=share)

    @classmethod
    def of_run(
        cls,
        config: RunConfig,
        model: torch.nn.Module | None,
        tensors: TensorMap,
        attempt: Attempt,
        *,
        follows: bool = False,
    ) -> Self:
        """Return a run's own; model: None where another rank measures alone. follows: whether this
        one only takes part in gathering what the first one measures."""
        if model is None:
            return cls(None, None, same=False)
        anchor_path = config.anchor_model
        same = anchor_path is not None and Path(anchor_path).samefile(config.model)
        parent = _reference(config.model, "model", model, tensors, attempt, follows)
        anchor = None
        if anchor_path is not None and not same:
            anchor = _reference(anchor_path, "anchor_model", model, tensors, attempt, follows)
        return cls(parent, anchor, same, config.diagnostics.diagnostics_share)

    def due(self, step: int, last: bool) -> bool:
        """Whether to measure after this step: the first, the last, every fifth if time allows."""
        return last or self._budget.due(step)

    def measure(self, model: torch.nn.Module) -> tuple[Displacement | None, Displacement | None]:
        """Return the displacement from the parent and from the anchor; None where unknown."""
        with self._budget.measuring():
            parent = self.parent.measure(model) if self.parent else None
            anchor = parent if self._same else None
            if self._anchor and not self._same:
                anchor = self._anchor.measure(model)
        return parent, anchor


def _reference(
    path: str,
    where: str,
    model: torch.nn.Module,
    tensors: TensorMap,
    attempt: Attempt,
    follows: bool,
) -> Reference | None:
    reference = Reference(path, tensors, follows=follows)
    missing = reference.missing(model)
    if missing is None:
        return reference
    what = "displacement and the rank of the change" if where == "model" else "displacement"
    message = f"{what} cannot be measured: the stored weights have no {missing} of this shape"
    attempt.events.warning(where=where, message=message)
    return None


class Clock:
    """Estimates the time left from the arithmetic that the coming samples need."""

    def __init__(self, curriculum: Curriculum, config: RunConfig) -> None:
        self._costs = _suffix_sums([sample.cost(config) for sample in curriculum.samples])
        self._examples_per_step = config.examples_per_step
        self._started_at: tuple[float, int] | None = None

    def start(self, step: int) -> None:
        """Begin to count, after so many steps of an earlier attempt."""
        self._started_at = (time.monotonic(), self._cost_after(step))

    def seconds_left(self, step: int) -> float | None:
        """Return the seconds until the last step ends; None before anything was timed."""
        if self._started_at is None:
            return None
        started, cost_then = self._started_at
        cost_now = self._cost_after(step)
        if cost_now >= cost_then:
            return None
        return (time.monotonic() - started) / (cost_then - cost_now) * cost_now

    def _cost_after(self, step: int) -> int:
        return self._costs[min(step * self._examples_per_step, len(self._costs) - 1)]


def _suffix_sums(values: Sequence[int]) -> list[int]:
    sums = [0]
    for value in reversed(values):
        sums.append(sums[-1] + value)
    return sums[::-1]


def memory_bytes(device: torch.device) -> int:
    """Return the most memory used so far: of the GPU where there is one, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Not getrusage: its peak outlives exec, so a child of a large process would count its parent's.
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")
