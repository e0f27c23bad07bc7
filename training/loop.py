"""The training loop: a step is all that happens between two updates of the weights.

next examples; forward and backward of each decision; gradients summed over the ranks; what pulls
toward the parent; clipped, and finite or stopped; the optimizer's update; the report; the brake; a
state; a stop. Every rank goes through the same steps with the whole curriculum in hand.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
import transformers
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LRScheduler

from engine.attempt import Attempt, EngineError, StoppedError
from engine.process import DIVERGED
from engine.states import (
    state_begin,
    state_complete,
    state_discarded_on_error,
    state_step,
    state_temporary,
)
from training.config import RunConfig
from training.defences.penalties import ParentPenalty
from training.frozen.batching import conversations_group
from training.frozen.streaming import LossFunction, frozen_losses, masked_losses
from training.measures.meter import StepMeter
from training.measures.reporting import Reporter
from training.ranks.sharding import Holding
from training.resuming import (
    optimizer_load,
    optimizer_write,
    random_load,
    random_write,
    weights_load,
    weights_write,
)
from training.samples import Curriculum, Sample
from training.tensors.parts import whole_tensor

_DIVERGED_CURE = "Lower the rate, or look at the examples of this step; the last state is kept."


@dataclass(kw_only=True)
class Session:
    """What the steps of one run work on."""

    config: RunConfig
    curriculum: Curriculum
    attempt: Attempt
    holding: Holding
    device: torch.device
    reporter: Reporter
    penalty: ParentPenalty | None = None
    can_pad: bool = False
    """Whether conversations of different lengths may be walked side by side."""
    can_gather: bool = False
    """Whether short decisions of one conversation may share a backward."""
    step: int = 0
    """Steps that were taken, those of earlier attempts counted."""
    braked: bool = False
    """Whether the brake has ended it: then the first rank alone has the weights kept."""
    losses: LossFunction = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    scheduler: LRScheduler = field(init=False)

    def __post_init__(self) -> None:
        config = self.config
        self.losses = masked_losses
        if config.context_frozen:
            window = config.context.grad_window
            self.losses = partial(frozen_losses, grad_window=window, gather=self.can_gather)
        self.optimizer = config.method.kind.optimizer(
            self.holding.model,
            config.method,
            rate=config.learning_rate,
            weight_decay=config.weight_decay,
            seed=config.seed,
        )
        self.scheduler = scheduler_create(self.optimizer, config, self.curriculum.step_count)


def scheduler_create(
    optimizer: torch.optim.Optimizer, config: RunConfig, step_count: int
) -> LRScheduler:
    """Return the schedule of a recipe: how its rate goes over the steps."""
    with_warmup = config.schedule == "constant" and config.warmup_steps
    scheduler: LRScheduler = transformers.get_scheduler(
        "constant_with_warmup" if with_warmup else config.schedule,
        optimizer=optimizer,
        num_warmup_steps=config.warmup_steps,
        num_training_steps=step_count,
    )
    return scheduler


def train(session: Session, resume: Path | None, began: float) -> None:
    """Take all steps, or those that the state `resume` has not taken yet.

    began: when the model was loaded, by time.monotonic. Raises EngineError where a loss or gradient
    is not finite, before the optimizer steps, and StoppedError after a state was saved on request.
    """
    config, ranks = session.config, session.holding.ranks
    transformers.set_seed(config.seed)
    ranks.seed(config.seed)
    session.reporter.start(resume, began)
    if resume is not None:
        _resume(session, resume)
    while session.step < session.curriculum.step_count:
        session.step += 1
        _step(session)
        session.braked = ranks.agree(session.reporter.braked)
        if session.braked:
            return
        last = session.step == session.curriculum.step_count
        stopping = ranks.agree(session.attempt.stop.requested) and not last
        if stopping or (session.step % config.save_every_steps == 0 and not last):
            _state_save(session)
        if stopping:
            raise StoppedError


def _step(session: Session) -> None:
    """Learn from the next examples."""
    step, meter, reporter = session.step, StepMeter(), session.reporter
    samples = session.curriculum.samples_of(step, session.config.examples_per_step)
    session.holding.model.train()
    _gradients_make(session, samples, meter)
    if session.penalty is not None:
        meter.extras |= session.penalty.gradient_add()
    norm = _gradient_clip(session)
    reporter.diagnostics.before_step(step, meter, session.optimizer)
    session.optimizer.step()
    rate = float(session.scheduler.get_last_lr()[0])
    session.scheduler.step()
    session.holding.model.zero_grad()
    session.holding.ranks.same_check("the gradient's norm", norm)
    meter.combine(session.holding.ranks)
    last = step == session.curriculum.step_count
    reporter.step_done(step=step, meter=meter, gradient_norm=norm, rate=rate, last=last)


def _gradients_make(session: Session, samples: Sequence[Sample], meter: StepMeter) -> None:
    """Run forward and backward of every decision of this rank's share, and sum over the ranks.

    The loss is the mean over the decision tokens of the whole step, whichever rank has them.
    """
    config, holding = session.config, session.holding
    token_count = sum(sample.encoded.decision_token_count for sample in samples)
    scale = 1.0 / max(1, token_count)
    own = [samples[i] for i in holding.ranks.share([sample.cost(config) for sample in samples])]
    losses: list[tuple[Sample, int, torch.Tensor]] = []
    with holding.step():
        for group in conversations_group(own, config, can_pad=session.can_pad):
            encoded = [sample.encoded for sample in group]
            for loss in session.losses(holding.model, encoded, session.device):
                (loss.nll_sum * scale).backward()
                parts = zip(group, loss.token_counts, loss.nll_sums.unbind(), strict=True)
                losses += [part for part in parts if part[1]]
        # Before gradients are summed, so that the cause of a loss that is not finite is named.
        _losses_count(session, own, losses, meter)


def _losses_count(
    session: Session,
    samples: Sequence[Sample],
    losses: Sequence[tuple[Sample, int, torch.Tensor]],
    meter: StepMeter,
) -> None:
    """Enter the losses of a step, (sample, tokens, nats); a GPU is waited for only here."""
    nll_sums = torch.stack([nats for *_, nats in losses]).tolist() if losses else []
    for (sample, token_count, _), nll_sum in zip(losses, nll_sums, strict=True):
        if not math.isfinite(nll_sum):
            _diverge(session, f"the loss of an example of {sample.kind} data")
        meter.add(sample, nll_sum, token_count)
    for sample in samples:
        meter.example_done(sample)


def _gradient_clip(session: Session) -> float:
    """Scale the gradient down to the recipe's largest norm; return the norm that it had."""
    limit = session.config.max_gradient_norm or math.inf
    norm = float(whole_tensor(clip_grad_norm_(session.holding.model.parameters(), limit)))
    if not math.isfinite(norm):
        _diverge(session, "the gradient")
    return norm


def _diverge(session: Session, what: str) -> NoReturn:
    metric = {"step": session.step, "values": {"loss_nats": None, "gradient_norm": None}}
    message = f"{what} was not finite; the weights were left as they were before this step"
    where = f"step {session.step}"
    raise EngineError(DIVERGED, where, message, _DIVERGED_CURE, metric=metric)


def _state_save(session: Session) -> None:
    """Write a state: all of it the first rank, the others their random numbers only."""
    session.holding.same_check()
    model = session.holding.at_rest()
    temporary = state_temporary(session.attempt.directory / "trainer", session.step)
    with state_discarded_on_error(temporary):
        _state_write(session, model, temporary)


def _state_write(session: Session, model: Any, temporary: Path) -> None:
    ranks = session.holding.ranks
    directory = temporary if ranks.first else None
    if directory is not None:
        state_begin(directory)
    if model is not None:
        weights_write(model, directory)
        optimizer_write(session.optimizer, session.scheduler, directory)
        session.reporter.state_write(directory, session.step)
    ranks.wait()
    random_write(ranks.directory(temporary))
    ranks.wait()
    if directory is not None:
        session.attempt.events.saved(step=session.step, path=state_complete(temporary))


def _resume(session: Session, state: Path) -> None:
    """Go on from a state as if there had been no interruption."""
    session.step = state_step(state)
    weights_load(session.holding, state)
    optimizer_load(session.optimizer, session.scheduler, state, session.config)
    session.reporter.weights_loaded(state)
    ranks = session.holding.ranks
    random_load(ranks, state, seed=session.config.seed, step=session.step)
