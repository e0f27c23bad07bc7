"""The training loop: transformers' Trainer with our own step, count of tokens, metrics and states.

Trainer keeps what it does well (clipping, schedules, skipping data on resume); what it does
silently is replaced: tokens are counted by decision, a loss or gradient that is not finite stops
the run before the optimizer steps, and states are complete or absent. Accumulation is ours too:
one training step of Trainer's is one step of the optimizer, so that its conversations can be
walked together in whatever way is cheapest.
"""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainingArguments

from engine.attempt import Attempt, EngineError
from engine.process import DIVERGED
from training.config import RunConfig
from training.defences.penalties import ParentPenalty
from training.defences.watch import Watch
from training.frozen.batching import conversations_group
from training.frozen.streaming import LossFunction, frozen_losses, masked_losses
from training.measures.meter import DisplacementMeter, StepMeter
from training.measures.reporting import Reporter
from training.methods.optimizers import (
    optimizer_create,
    optimizer_state_loading,
    projectors_to_device,
)
from training.ranks.group import ALONE
from training.ranks.sharding import Copies, Holding, whole_tensor
from training.samples import Curriculum, Sample
from training.states import (
    state_begin,
    state_complete,
    state_discarded_on_error,
    state_temporary,
)

_DIVERGED_CURE = "Lower the rate, or look at the examples of this step; the last state is kept."


def training_arguments(
    config: RunConfig, curriculum: Curriculum, directory: Path
) -> TrainingArguments:
    """Translate a recipe; a "batch" of Trainer's is all that one step learns from."""
    arguments = TrainingArguments(
        output_dir=str(directory),
        max_steps=curriculum.step_count,
        per_device_train_batch_size=config.examples_per_step,
        learning_rate=config.learning_rate,
        lr_scheduler_type=_schedule(config),
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_gradient_norm or 0.0,
        seed=config.seed,
        use_cpu=config.device == "cpu",
        remove_unused_columns=False,
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=[],
    )
    _ = arguments.device  # set up first, for it counts the GPUs
    arguments._n_gpu = min(1, arguments.n_gpu)  # one run, one GPU: else it would split the batch
    return arguments


def _schedule(config: RunConfig) -> str:
    if config.schedule == "constant" and config.warmup_steps:
        return "constant_with_warmup"
    return config.schedule


class RunTrainer(Trainer):
    """Trains on a curriculum and reports to an attempt."""

    def __init__(
        self,
        *,
        model: Any,
        config: RunConfig,
        curriculum: Curriculum,
        attempt: Attempt,
        displacement: DisplacementMeter,
        penalty: ParentPenalty | None = None,
        can_pad: bool = False,
        can_gather: bool = False,
        watch: Watch | None = None,
        holding: Holding | None = None,
    ) -> None:
        """can_pad: whether conversations of different lengths may be walked side by side.
        can_gather: whether short decisions of one conversation may share a backward.
        """
        self.network = model
        """The model itself; Trainer's `model` and `model_wrapped` are typed as perhaps None."""
        self.holding = holding or Copies(model, ALONE)
        self.ranks = self.holding.ranks
        self.config = config
        self.curriculum = curriculum
        self.attempt = attempt
        self.states_directory = attempt.directory / "trainer"
        self.penalty = penalty
        self.meter = StepMeter()
        self.can_pad = can_pad
        self.losses: LossFunction = masked_losses
        if config.context_frozen:
            self.losses = partial(
                frozen_losses, grad_window=config.context.grad_window, gather=can_gather
            )
        self.stopped = False
        self.braked = False
        """Whether the brake ended the session: then the first rank alone has the weights kept."""
        self._last_reported = 0
        super().__init__(
            model=model,
            args=training_arguments(config, curriculum, self.states_directory),
        )
        self.remove_callback(PrinterCallback)
        self.reporter = Reporter(
            model=model,
            device=self.args.device,
            config=config,
            curriculum=curriculum,
            attempt=attempt,
            displacement=displacement,
            watch=watch,
            holding=self.holding,
        )
        self.ranks.seed(config.seed)

    # Data and optimizer

    def get_train_dataloader(self) -> DataLoader:
        """Return the samples in their order, as a list for each step."""
        samples: Any = self.curriculum.samples
        return DataLoader(
            samples,
            batch_size=self.args.per_device_train_batch_size,
            sampler=SequentialSampler(samples),
            collate_fn=list,
        )

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, int]:
        """Return a step's samples, as a list of one list, and its count of decision tokens."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        count = sum(s.encoded.decision_token_count for batch in batches for s in batch)
        self.meter = StepMeter()
        return batches, count

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Return the recipe's optimizer over groups of our own."""
        if self.optimizer is None:
            self.optimizer = optimizer_create(self.network, self.config)
            self.holding.optimizer_attach(self.optimizer)
        return self.optimizer

    def floating_point_ops(self, inputs: Any) -> int:
        """Return 0: the estimate of Trainer knows nothing of frozen context."""
        return 0

    # One step

    def training_step(
        self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Add up the gradients of a step.

        inputs: a list of Sample, as `get_train_dataloader` collates them.
        num_items_in_batch: the decision tokens of the step, over which the loss is the mean.
        Returns this rank's part of the step's loss: the sum of its decisions' nats ÷ the step's
        decision tokens.
        """
        model.train()
        scale = 1.0 / max(1, num_items_in_batch)
        own = self.ranks.share([sample.cost(self.config) for sample in inputs])
        samples: list[Sample] = [inputs[index] for index in own]
        found: list[tuple[Sample, int, torch.Tensor]] = []
        with self.holding.step():
            for group in conversations_group(samples, self.config, can_pad=self.can_pad):
                for loss in self.losses(model, [s.encoded for s in group], self.args.device):
                    (loss.nll_sum * scale).backward()
                    parts = zip(group, loss.token_counts, loss.nll_sums.unbind(), strict=True)
                    found += [part for part in parts if part[1]]
            self._count(samples, found)  # before gradients are summed, so that the cause is named
        return torch.tensor(self.meter.nll_sum * scale, device=self.args.device)

    def _count(self, samples: list[Sample], found: list[tuple[Sample, int, torch.Tensor]]) -> None:
        """Take down the losses of a step; a GPU is waited for only here."""
        nll_sums = torch.stack([part for *_, part in found]).tolist() if found else []
        for (sample, token_count, _), nll_sum in zip(found, nll_sums, strict=True):
            if not math.isfinite(nll_sum):
                self._diverged(f"the loss of an example of {sample.kind} data")
            self.meter.add(sample, nll_sum, token_count)
        for sample in samples:
            self.meter.example_done(sample)

    def _gradient_complete(self) -> None:
        """Add what counts once a step; every microbatch is done, and nothing is clipped yet."""
        if self.penalty is not None:
            self.meter.extras |= self.penalty.gradient_add()

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        self._gradient_complete()
        return super()._clip_grad_norm(model)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> float:
        """Return the gradient's norm before clipping; stop the run where it is not finite."""
        if grad_norm is None:  # it was not clipped
            self._gradient_complete()
        norm = float(whole_tensor(super()._get_grad_norm(model, grad_norm)))
        if not math.isfinite(norm):
            self._diverged("the gradient")
        optimizer = self.create_optimizer()  # it has long been made
        self.reporter.diagnostics.before_step(self.state.global_step + 1, self.meter, optimizer)
        return norm

    def _diverged(self, what: str) -> None:
        step = self.state.global_step + 1
        metric = {"step": step, "values": {"loss_nats": None, "gradient_norm": None}}
        message = f"{what} was not finite; the weights were left as they were before this step"
        raise EngineError(DIVERGED, f"step {step}", message, _DIVERGED_CURE, metric=metric)

    # After every step

    def _maybe_log_save_evaluate(
        self, tr_loss: torch.Tensor, grad_norm: Any, model: nn.Module, *_: Any, **rest: Any
    ) -> None:
        """Report the step, save a state where one is due, and stop where that was asked."""
        step = self.state.global_step
        if step == self._last_reported:  # Trainer also calls this at the end of the epoch
            return
        self._last_reported = step
        last = step >= self.curriculum.step_count
        self.ranks.same_check("the gradient's norm", grad_norm)
        self.meter.combine(self.ranks)
        self.reporter.step_done(
            step=step,
            meter=self.meter,
            gradient_norm=grad_norm,
            rate=rest["learning_rate"],
            last=last,
        )
        if self.ranks.agree(self.reporter.braked):
            self.braked = True
            self.control.should_training_stop = True
            return
        self.stopped = self.ranks.agree(self.attempt.stop.requested) and not last
        if self.stopped or (step % self.config.save_every_steps == 0 and not last):
            self._state_save(step)
        if self.stopped:
            self.control.should_training_stop = True

    # States

    def _state_save(self, step: int) -> None:
        """Write a state: all of it the first rank, the others their random numbers only."""
        self.holding.same_check()
        network = self.holding.whole()
        temporary = state_temporary(self.states_directory, step)
        with state_discarded_on_error(temporary):
            self._state_write(network, temporary, step)

    def _state_write(self, network: Any, temporary: Path, step: int) -> None:
        if network is not None:
            state_begin(temporary)
            network.save_pretrained(temporary)
            self._save_optimizer_and_scheduler(str(temporary))
            self.state.save_to_json(str(temporary / "trainer_state.json"))
            self.reporter.state_write(temporary, step)
        elif self.holding.sharded and self.optimizer is not None:
            self.optimizer.state_dict()  # its parts are gathered from all ranks
        self.ranks.wait()
        self._save_rng_state(str(self.ranks.directory(temporary)))
        self.ranks.wait()
        if network is not None:
            final = state_complete(temporary)
            self.attempt.events.saved(step=step, path=final)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        own = self.ranks.directory(Path(checkpoint))
        if own.is_dir():
            super()._load_rng_state(str(own))
        else:  # there were fewer ranks
            self.ranks.seed(self.config.seed, self.state.global_step)

    def _load_from_checkpoint(self, checkpoint: str, model: nn.Module | None = None) -> None:
        if not self.holding.weights_load(Path(checkpoint)):
            super()._load_from_checkpoint(checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with optimizer_state_loading(self.config):
            super()._load_optimizer_and_scheduler(checkpoint)
        if self.optimizer is not None:
            projectors_to_device(self.optimizer, self.config)
        if checkpoint is not None:
            self.reporter.weights_loaded(Path(checkpoint))
