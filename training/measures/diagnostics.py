"""Measures what a session does to the model while it trains, seldom enough to stay cheap.

Each diagnostic has a budget of its own: a share of the session's time. None of them touches the
weights, the gradients or the random numbers, so a session gives the same weights without them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from training.config import RunConfig
from training.frozen.cosine import GradientCosine
from training.measures.budget import Budget
from training.measures.displacement import Reference
from training.measures.meter import StepMeter
from training.measures.rank import ChangeRanks
from training.measures.sharpness import Sharpness, batch_loss, sharpness_batch
from training.measures.sparsity import gradient_sparsity
from training.samples import Sample

RANK_EVERY_STEPS = 5


class Diagnostics:
    """Gradient sparsity, the frozen gradient's cosine, sharpness along the step and the rank of the
    middle layer's change."""

    def __init__(
        self,
        *,
        model: nn.Module,
        config: RunConfig,
        samples: Sequence[Sample],
        parent: Reference | None,
        device: torch.device,
        live: bool = True,
        follows: bool = False,
    ) -> None:
        """parent: what the change is taken from; None where it cannot be measured.

        live: whether anything is measured while the session trains; else only at its end. follows:
        whether another process measures, and this one only takes part in gathering.
        """
        self._live = live
        settings = config.diagnostics
        share = settings.diagnostics_share
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._sparsity = Budget(share=share) if settings.gradient_sparsity else None
        self.ranks: ChangeRanks | None = None
        if parent and settings.change_rank:
            self.ranks = ChangeRanks(model, parent, follows=follows)
        self._rank = Budget(share=share, every_steps=RANK_EVERY_STEPS)
        self._sharpness_budget = Budget(share=share)
        self._cosine_budget = Budget(share=share)
        self.cosine: GradientCosine | None = None
        if settings.gradient_cosine and config.context_frozen:
            self.cosine = GradientCosine(model, config, samples, device)
        self.sharpness: Sharpness | None = None
        batch = sharpness_batch(samples)
        if settings.sharpness and config.dtype == "float32" and batch:
            self.sharpness = Sharpness(model, batch_loss(model, batch, device))

    def before_step(self, step: int, meter: StepMeter, optimizer: torch.optim.Optimizer) -> None:
        """Look at the gradient of this step, which is complete, before the optimizer takes it.

        Where sharpness is due the optimizer steps here, and finds no gradient when the caller has
        it step.
        """
        if not self._live:
            return
        if self._sparsity and self._sparsity.due(step):
            with _aside(self._sparsity, meter):
                sparsity = gradient_sparsity(self._parameters)
            meter.extras["gradient_entries_small_share"] = sparsity.entries_share
            if sparsity.rows_share is not None:
                meter.extras["gradient_rows_small_share"] = sparsity.rows_share
        if self.sharpness and self._sharpness_budget.due(step):
            self.sharpness.step(optimizer)

    def after_step(self, step: int, meter: StepMeter) -> None:
        """Look at what the optimizer did in this step."""
        if not self._live:
            return
        if self.sharpness and self.sharpness.is_waiting:
            with _aside(self._sharpness_budget, meter):
                value = self.sharpness.measure()
            if value is not None:
                meter.extras["sharpness"] = value
        self._cosine_measure(step, meter)
        if self.ranks and self._rank.due(step):
            with _aside(self._rank, meter):
                layer = {name: self.ranks.measure(name) for name in self.ranks.middle_layer()}
            entropy, energy = self.ranks.mean(layer)
            if entropy is not None and energy is not None:
                meter.extras["middle_entropy_rank"] = entropy
                meter.extras["middle_rank_90"] = energy

    def _cosine_measure(self, step: int, meter: StepMeter) -> None:
        sample = self.cosine.sample(step) if self.cosine else None
        if self.cosine is None or sample is None:
            return
        # It takes as long as several examples, so in a short session even one can be too much.
        expected, session = self.cosine.seconds(step, sample, meter.seconds)
        budget = self._cosine_budget
        if budget.due(step, expected_seconds=expected, session_seconds=session):
            with _aside(budget, meter):
                value = self.cosine.measure(sample)
            if value is not None:
                meter.extras["gradient_cosine"] = value


@contextmanager
def _aside(budget: Budget, meter: StepMeter) -> Iterator[None]:
    with meter.aside(), budget.measuring():
        yield
