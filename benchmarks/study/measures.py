"""What the study measures of a checkpoint, in float32: losses, perplexity, forward KL."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM

from benchmarks.study.data import StudyData
from corpus.encoded import EncodedExample
from engine.products import linear_layers_prepare


class Measures:
    """Measures checkpoints against their parent, whose own figures it keeps."""

    def __init__(self, parent: Path, data: StudyData) -> None:
        self.data = data
        model = _load(parent)
        self._parent_log_p = [_log_p(model, one.token_ids) for one in data.learnt]
        self.parent_loss = held_out_loss(model, data.held_out)
        self.parent_nats = {name: _nats(model, texts) for name, texts in self._texts()}

    def _texts(self) -> tuple[tuple[str, list[list[int]]], ...]:
        return ("prose", self.data.prose), ("code", self.data.code)

    def measure(self, checkpoint: Path) -> dict[str, float]:
        """Return the figures of a checkpoint.

        learned_nats: how far the held-out loss fell, a decision token. lost_nats (prose, code,
        both): how far the mean -ln p of general text rose, a token, so e^lost is the ratio of
        perplexities. kl_decision_nats, kl_prompt_nats: KL(parent || checkpoint), a token.
        """
        model = _load(checkpoint)
        loss = held_out_loss(model, self.data.held_out)
        figures = {"held_out_loss_nats": loss, "learned_nats": self.parent_loss - loss}
        rise, count = 0.0, 0
        for name, texts in self._texts():
            nats = _nats(model, texts)
            tokens = sum(len(ids) - 1 for ids in texts)
            figures[f"lost_{name}_nats"] = (nats - self.parent_nats[name]) / tokens
            rise, count = rise + nats - self.parent_nats[name], count + tokens
        figures["lost_nats"] = rise / count
        return figures | self._divergence(model)

    def _divergence(self, model: Any) -> dict[str, float]:
        sums, counts = {True: 0.0, False: 0.0}, {True: 0, False: 0}
        for example, parent in zip(self.data.learnt, self._parent_log_p, strict=True):
            by_token = divergence(parent, _log_p(model, example.token_ids))
            decides = torch.zeros(len(example.token_ids), dtype=torch.bool)
            for segment in example.segments:
                decides[segment.start : segment.end] = segment.is_decision
            for kind in (True, False):  # position i predicts token i + 1
                chosen = by_token[decides[1:] == kind]
                sums[kind] += float(chosen.sum())
                counts[kind] += len(chosen)
        return {
            "kl_decision_nats": sums[True] / counts[True],
            "kl_prompt_nats": sums[False] / counts[False],
        }


def _load(directory: Path) -> Any:
    model: Any = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    linear_layers_prepare(model)
    return model.eval()


@torch.inference_mode()
def _log_p(model: Any, ids: list[int]) -> Tensor:
    """ln p of every token of the vocabulary at every place but the last: (tokens - 1, words)."""
    logits = model(torch.tensor([ids]), use_cache=False).logits[0, :-1]
    return functional.log_softmax(logits.float(), dim=-1)


@torch.inference_mode()
def divergence(parent: Tensor, child: Tensor) -> Tensor:
    """KL(parent || child) at every place, in nats; both (places, words) of ln p."""
    return (parent.exp() * (parent - child)).sum(dim=-1)


@torch.inference_mode()
def held_out_loss(model: Any, examples: Sequence[EncodedExample]) -> float:
    """Mean -ln p a decision token, over all examples."""
    total, count = 0.0, 0
    for example in examples:
        ids = torch.tensor(example.token_ids)
        wanted = torch.cat(
            [torch.arange(s.start, s.end) for s in example.segments if s.is_decision]
        )
        logits = model(ids[None], use_cache=False, logits_to_keep=wanted - 1).logits[0]
        total += float(functional.cross_entropy(logits.float(), ids[wanted], reduction="sum"))
        count += len(wanted)
    return total / count


def _nats(model: Any, texts: Sequence[list[int]]) -> float:
    """-ln p of all texts together, each from its second token on."""
    total = 0.0
    for ids in texts:
        log_p = _log_p(model, ids)
        total -= float(log_p.gather(1, torch.tensor(ids[1:])[:, None]).sum())
    return total
