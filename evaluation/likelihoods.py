"""lm-eval's model class with a scoring loop of our own: one wait for the device a batch.

lm-eval asks the device for two numbers of every item as soon as they are due, and a GPU idles
meanwhile. Here a batch's inputs go to the device together, and all its answers come back together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import Collator
from torch.nn import functional
from transformers import LogitsProcessor, LogitsProcessorList

from engine.attempt import EngineError
from engine.process import BAD_INPUT
from evaluation.config import MeasureConfig
from evaluation.loading import Loaded

logger = logging.getLogger(__name__)

Request = tuple[tuple[str, str], list[int], list[int]]
"""Question and answer as texts, then the token ids of each."""


def asks_by_chat(config: MeasureConfig, loaded: Loaded) -> bool:
    """Whether benchmarks are asked through the chat template: where the config says so and the
    model has one. Raises EngineError (BAD_INPUT) where it does not know an argument."""
    if not config.chat_template or not loaded.tokenizer.chat_template:
        return False
    loaded.template_arguments_check(config.template_arguments)
    return True


class CountingModel(HFLM):
    """lm-eval's own model class, which says after every batch how far it is.

    It asks for the logits of the answers alone. Over a large vocabulary those of the questions,
    which nobody looks at, would be a good part of a small model's work.
    """

    def __init__(self, loaded: Loaded, config: MeasureConfig, batch_size: int = 1) -> None:
        super().__init__(
            pretrained=loaded.model,
            tokenizer=loaded.tokenizer,
            batch_size=batch_size,
            softmax_dtype="float32",
            chat_template_args=dict(config.template_arguments),
        )
        self.asks_by_chat = asks_by_chat(config, loaded)
        """Whether benchmarks are asked through the chat template."""
        self.on_share: Callable[[float], None] = lambda share: None
        """Called with the share of the current benchmark's sequences that are done."""
        self.inputs_device = loaded.device
        self._done = self._total = 0

    @torch.no_grad()
    def _loglikelihood_tokens(
        self, requests: list[Request], *_: Any, **__: Any
    ) -> list[tuple[float, bool]]:
        """Of each request: the answer's log-likelihood in nats, and whether it is the likeliest
        text token by token. Batches, padding and arithmetic are lm-eval's."""
        # Answers that differ in their last token alone share one forward pass.
        order = Collator(requests, sort_fn=_longest_first, group_by="contexts", group_fn=_read)
        self._begin(len({tuple(_read(one)) for one in requests}))
        self._cut_tell(requests)
        answers: list[tuple[float, bool]] = []
        for batch in order.get_batched(n=self.batch_size):
            answers += self._batch_answers(batch, order)
            self._count(len(batch))
        in_order: list[tuple[float, bool]] = order.get_original(answers)
        return in_order

    def _batch_answers(self, batch: Sequence[Request], order: Any) -> list[tuple[float, bool]]:
        """The answers of a batch and of those that share its passes; waits for the device once."""
        rows = [_read(one)[-self.max_length :] for one in batch]
        first = min(len(row) - len(one[2]) for row, one in zip(rows, batch, strict=True))
        logits = self.answer_logits(rows, first)
        sharing = [_sharing(one, order) for one in batch]
        tokens = [list(answer) for answers in sharing for answer in answers]
        together = torch.tensor([token for one in tokens for token in one])
        targets = iter(together.to(logits.device).split([len(one) for one in tokens]))
        scored: list[torch.Tensor] = []
        for one, answers, row, own in zip(batch, sharing, rows, logits, strict=True):
            end = len(row) - first  # what follows is padding
            kept = own[end - len(one[2]) : end]
            nats = functional.log_softmax(kept, dim=-1, dtype=torch.float32)
            scored += [_scored(nats[-len(answer) :], next(targets)) for answer in answers]
        told = torch.stack(scored).tolist()  # the only wait
        return [(sum_nats, bool(is_likeliest)) for sum_nats, is_likeliest in told]

    @torch.no_grad()
    def answer_logits(self, rows: Sequence[Sequence[int]], first: int) -> torch.Tensor:
        """Logits (rows, longest - first, vocabulary) from place `first` of rows of tokens, which
        are padded on the right, where a causal model never looks."""
        longest = max(map(len, rows))
        padded = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
        inputs = padded.to(self.inputs_device)
        logits: torch.Tensor = self.model(inputs, logits_to_keep=longest - first).logits
        return logits[:, -(longest - first) :]

    def _cut_tell(self, requests: Sequence[Request]) -> None:
        cut = sum(len(_read(one)) > self.max_length for one in requests)
        if cut:
            message = "%d items are longer than the model's %d positions: cut from the left"
            logger.warning(message, cut, self.max_length)

    def generate_until(self, requests: list[Any], *args: Any, **kwargs: Any) -> list[str]:
        """lm-eval's own, counted."""
        self._begin(len(requests))
        return super().generate_until(requests, *args, **kwargs)

    def _model_generate(self, context: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        numbers = _NumbersOnly()
        kwargs["logits_processor"] = LogitsProcessorList([numbers])
        tokens: torch.Tensor = super()._model_generate(context, *args, **kwargs)
        numbers.check()
        self._count(context.shape[0])
        return tokens

    def _begin(self, total: int) -> None:
        self._done, self._total = 0, max(1, total)

    def _count(self, sequences: int) -> None:
        self._done += sequences
        self.on_share(self._done / self._total)


class _NumbersOnly(LogitsProcessor):
    """Looks out for a model that answers with NaN: what it writes would only seem stupid."""

    def __init__(self) -> None:
        self._broken: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """scores: [batch, vocabulary], handed on as they are. Asks the device for nothing."""
        now = torch.isnan(scores).any()
        self._broken = now if self._broken is None else self._broken | now
        return scores

    def check(self) -> None:
        """Raise EngineError (BAD_INPUT) where a batch's answers held one."""
        if self._broken is not None and bool(self._broken):
            message = "answers with values that are not numbers"
            cure = "The checkpoint's weights are broken: choose another one, or train it again."
            raise EngineError(BAD_INPUT, "model", message, cure)


def _read(request: Request) -> list[int]:
    """What the model reads of a request: all but the answer's last token."""
    _, question, answer = request
    return [*question, *answer[:-1]]


def _longest_first(request: Request) -> tuple[int, tuple[int, ...]]:
    tokens = (*request[1], *request[2])
    return -len(tokens), tokens


def _sharing(request: Request, order: Any) -> list[list[int]]:
    """The answers that one pass serves, the request's own among them, which is the longest."""
    texts, question, answer = request
    nothing = torch.empty(1, 1, 1)  # the collator hands logits on, which are not there yet
    shared = order.get_cache(req_str=texts, cxt_toks=question, cont_toks=answer, logits=nothing)
    return [tokens for _, tokens, _ in shared]


def _scored(nats: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(sum of the targets' nats, whether each is the likeliest), both as float64 numbers.

    nats: (targets, vocabulary).
    """
    likeliest = (nats.argmax(dim=-1) == targets).all()
    total = torch.gather(nats, 1, targets.unsqueeze(1)).squeeze(1).sum()
    return torch.stack([total.double(), likeliest.double()])
