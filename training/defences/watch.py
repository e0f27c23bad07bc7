"""Watches a session for what it forgets while it trains, and stops it where it forgets too much.

Every so many steps: the perplexity of small probes that are never learnt, and the KL divergence
from the parent. Nothing of it draws a random number or touches a gradient, so the trained weights
are the same without it, until the brake gives back earlier ones.

The brake goes by steps alone: general probes are read at every multiple of watch_every_steps and
after the last step, whatever that costs, so a resumed session stops where an uninterrupted one
does. Everything else keeps to its share of the time.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from engine.attempt import Attempt
from engine.states import state_step
from training.config import RunConfig, brake_refusal
from training.defences.brake import Braked, KeptWeights
from training.defences.divergence import ParentDivergence, prompts_choose
from training.defences.likelihood import reading
from training.defences.probe import Probe, perplexity
from training.measures.budget import Budget
from training.measures.meter import Totals
from training.ranks.sharding import Holding
from training.samples import Curriculum


class Watch:
    """The probes and the divergence of one session, and its brake."""

    def __init__(
        self,
        *,
        holding: Holding,
        config: RunConfig,
        curriculum: Curriculum,
        probes: Sequence[Probe],
        device: torch.device,
    ) -> None:
        """The model has the parent's weights, which everything is set against. Ranks that share it
        watch together: all of them read the same, and go by the first one's clock and numbers.

        Raises ConfigError for a brake without any general probe.
        """
        settings, share = config.watch, config.diagnostics.diagnostics_share
        self._holding = holding
        self._model = model = holding.model
        self._device = device
        self._every_steps = settings.watch_every_steps
        self._limit = settings.brake_rise
        self._kept = None if self._limit is None else KeptWeights(model)
        if self._kept and not any(probe.is_general for probe in probes):
            raise brake_refusal()
        exact = self._kept is not None
        self._exact = [probe for probe in probes if exact and probe.is_general]
        self._others = [probe for probe in probes if not (exact and probe.is_general)]
        self._probe_budget = Budget(every_steps=self._every_steps, share=share)
        self._divergence_budget = Budget(every_steps=self._every_steps, share=share)
        self.braked: Braked | None = None
        with self._reading():
            with self._probe_budget.measuring():
                self._parent_nats = self._read(probes)
            prompts = prompts_choose(curriculum.samples, settings.watch_kl_tokens, config.seed)
            with self._divergence_budget.measuring():
                self._divergence = ParentDivergence(model, prompts, device)

    def parent_values(self) -> dict[str, float | None]:
        """Return the metrics of the parent itself, which are those of step 0."""
        return {_name(key): perplexity(nats) for key, nats in self._parent_nats.items()}

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Read with the model; afterwards it is at rest again."""
        with reading(self._model):
            yield
        self._holding.at_rest()

    def weights_loaded(self, state: Path, totals: Totals) -> None:
        """Take over the weights that a state keeps; the model has the state's own."""
        if self._kept is not None:
            self._kept.state_read(state, state_step(state), totals.rate_sum)

    def state_write(self, directory: Path | None, step: int) -> None:
        """Add what `weights_loaded` reads back to a state's directory; without one only take part
        in gathering."""
        if self._kept is not None:
            self._kept.state_write(directory, step)

    def after_step(
        self, step: int, last: bool, totals: Totals, attempt: Attempt
    ) -> dict[str, float | None]:
        """Look, where it is time; return the metrics. Sets `braked` where the brake has stopped."""
        agree = self._holding.agree
        with self._reading():
            exact: dict[str, float] = {}
            if last or step % self._every_steps == 0:
                exact = self._read(self._exact)
            others: dict[str, float] = {}
            if self._others and agree(last or self._probe_budget.due(step)):
                with self._probe_budget.measuring():
                    others = self._read(self._others)
            nats = exact | others
            values: dict[str, float | None] = {_name(key): perplexity(nats[key]) for key in nats}
            if agree(last or self._divergence_budget.due(step)):
                with self._divergence_budget.measuring():
                    values["kl_to_parent_nats"] = self._divergence.measure(self._model)
        if exact and self._kept is not None:
            self._brake(self._kept, step, exact, totals, attempt)
        return values

    def _read(self, probes: Sequence[Probe]) -> dict[str, float]:
        nats = {probe.key: probe.nats_per_token(self._model, self._device) for probe in probes}
        agreed: dict[str, float] = self._holding.agree(nats)
        return agreed

    def _brake(
        self,
        kept: KeptWeights,
        step: int,
        nats: dict[str, float],
        totals: Totals,
        attempt: Attempt,
    ) -> None:
        """Keep the weights, or give back those of the last look where a probe is past the limit."""
        limit = self._limit or 0.0
        grown = {probe: nats[probe.key] - self._parent_nats[probe.key] for probe in self._exact}
        # A NaN is past every limit.
        past = [probe for probe in self._exact if not grown[probe] <= math.log1p(limit)]
        if not past:
            kept.keep(step, totals.rate_sum)
            return
        kept.restore()
        totals.rate_sum = kept.rate_sum
        self.braked = Braked(
            step=step,
            kept_step=kept.step,
            probe_key=past[0].key,
            probe_name=past[0].name,
            rise=math.expm1(grown[past[0]]) if grown[past[0]] < 700 else None,
            limit=limit,
        )
        attempt.events.warning(where="watch.brake_rise", message=self.braked.words())


def _name(key: str) -> str:
    return f"probe_perplexity_per_token/{key}"
