"""What a session says of itself: a metric event after every step, and the summary at its end."""

import json
import time
from pathlib import Path
from typing import Any

import torch

from engine.attempt import Attempt
from engine.states import state_step
from training.config import RunConfig
from training.defences.watch import Watch
from training.measures.diagnostics import Diagnostics
from training.measures.displacement import Displacement
from training.measures.meter import Clock, DisplacementMeter, StepMeter, Totals, memory_bytes
from training.models import trainable_parameter_count
from training.ranks.sharding import Holding
from training.samples import Curriculum

_TOTALS_NAME = "totals.json"


class Reporter:
    """Counts the steps of a session and reports them to its attempt."""

    def __init__(
        self,
        *,
        device: torch.device,
        config: RunConfig,
        curriculum: Curriculum,
        attempt: Attempt,
        displacement: DisplacementMeter,
        watch: Watch | None = None,
        holding: Holding,
    ) -> None:
        self.device = device
        self.curriculum = curriculum
        self.events = attempt.events
        self.attempt = attempt
        self.displacement = displacement
        self.watch = watch
        self.holding = holding
        self.diagnostics = Diagnostics(
            model=holding.model,
            config=config,
            samples=curriculum.samples,
            parent=displacement.parent,
            device=device,
            live=holding.ranks.first and not holding.sharded,
            follows=not holding.ranks.first,
        )
        self.notes: dict[str, Any] = {}
        """What else the summary says."""
        self.totals = Totals()
        self._since = time.monotonic()
        self.clock = Clock(curriculum, config)

    def start(self, state: Path | None, began: float) -> None:
        """Start the clock, after the steps of the state that training goes on from.

        began: when the model was loaded, by time.monotonic.
        """
        step, self._since = 0, began
        if state is not None:
            self.totals = Totals(**json.loads((state / _TOTALS_NAME).read_bytes()))
            step = state_step(state)
        if self.watch is not None and (values := self.watch.parent_values()):
            self.events.metric(step=0, values=values)
        self.clock.start(step)

    def weights_loaded(self, state: Path) -> None:
        """Note that the model has the weights of a state now."""
        if self.watch is not None:
            self.watch.weights_loaded(state, self.totals)

    def state_write(self, directory: Path | None, step: int) -> None:
        """Write what `start` and `weights_loaded` read back into a state's directory; without one
        only take part in gathering."""
        self._session_count()
        if directory is not None:
            (directory / _TOTALS_NAME).write_text(json.dumps(self.totals.to_json()))
        if self.watch is not None:
            self.watch.state_write(directory, step)

    @property
    def braked(self) -> bool:
        """Whether the brake has stopped the session and given the model earlier weights."""
        return self.watch is not None and self.watch.braked is not None

    def step_done(
        self, *, step: int, meter: StepMeter, gradient_norm: float, rate: float, last: bool
    ) -> None:
        """Count and report a step after the optimizer has taken it."""
        seconds = meter.seconds
        self._count(meter, rate, seconds)
        self.diagnostics.after_step(step, meter)
        values: dict[str, float | None] = {
            **meter.losses(),
            **meter.extras,
            "gradient_norm": gradient_norm,
            "learning_rate": rate,
            "decision_tokens_per_second": meter.decision_tokens / seconds,
            "context_tokens_per_second": meter.context_tokens / seconds,
            "memory_bytes": self.holding.ranks.largest(memory_bytes(self.device)),
            "epoch": self.totals.examples / self.curriculum.examples_per_epoch,
        }
        self._remember(meter)
        holding = self.holding
        due = holding.takes_part and holding.agree(self.displacement.due(step, last))
        if due and (model := holding.at_rest()) is not None:
            parent, anchor = self.displacement.measure(model)
            values["displacement"] = parent.norm if parent else None
            values["displacement_pretrained"] = anchor.norm if anchor else None
        if self.watch is not None:
            values |= self.watch.after_step(step, last, self.totals, self.attempt)
            if self.watch.braked is not None:
                self.notes["brake"] = self.watch.braked.to_json()
        self.events.metric(step=step, values=values)
        self.events.progress(
            done=step,
            total=self.curriculum.step_count,
            unit="steps",
            phase="training",
            seconds_left=self.clock.seconds_left(step),
        )

    def _session_count(self) -> None:
        now = time.monotonic()
        self.totals.session_seconds += now - self._since
        self._since = now

    def _count(self, meter: StepMeter, rate: float, seconds: float) -> None:
        totals = self.totals
        totals.examples += meter.examples
        totals.decision_tokens += meter.decision_tokens
        totals.context_tokens += meter.context_tokens
        totals.seconds += seconds
        totals.rate_sum += rate
        prefix = "loss_nats/batch/"
        for name, loss in meter.losses().items():
            if name.startswith(prefix) and loss is not None:
                totals.losses[name.removeprefix(prefix)] = loss

    def _remember(self, meter: StepMeter) -> None:
        for name, value in meter.extras.items():
            before = self.totals.diagnostics.get(name, [0.0, 0])
            self.totals.diagnostics[name] = [before[0] + value, before[1] + 1]

    def summary(
        self, *, step: int, parent: Displacement | None, anchor: Displacement | None
    ) -> dict[str, Any]:
        """Return what the done event says of the whole session, earlier attempts counted."""
        self._session_count()
        totals = self.totals
        tokens = totals.decision_tokens + totals.context_tokens
        norm = parent.norm if parent else None
        return {
            "steps": step,
            "examples": totals.examples,
            "decision_tokens": totals.decision_tokens,
            "context_tokens": totals.context_tokens,
            "seconds": totals.seconds,
            "session_seconds": totals.session_seconds,
            "tokens_per_second": tokens / totals.seconds if totals.seconds else None,
            "displacement": norm,
            "displacement_relative": parent.relative if parent else None,
            "displacement_pretrained": anchor.norm if anchor else None,
            "displacement_pretrained_relative": anchor.relative if anchor else None,
            "update_norm": norm / totals.rate_sum if norm is not None and totals.rate_sum else None,
            "loss_nats": dict(totals.losses),
            "diagnostics": {
                name: {"mean": value_sum / count, "measured_steps": count}
                for name, (value_sum, count) in totals.diagnostics.items()
            },
            "trainable_parameters": trainable_parameter_count(self.holding.model),
            "device": str(self.device),
            "threads": torch.get_num_threads(),
            **self.notes,
        }
