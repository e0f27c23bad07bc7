"""Context-frozen training of a Llama written down plainly: what the engine is compared with.

Nothing but torch and transformers, and no code of the engine: no cache, no streaming, no batches.
For each decision there is one forward over everything up to it, layer by layer, in which keys and
values of the context are constants; its loss is that of the decision's tokens alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, silu

from tests.tiny_model import END_ID, START_ID

Turns = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Conversation:
    """Tokens, and from where to where each decision goes."""

    ids: list[int]
    decisions: list[tuple[int, int]]


def chatml(turns: Turns) -> Conversation:
    """(role, text) of each turn in ChatML, a token a byte; each answer with its end is a
    decision."""
    ids: list[int] = []
    decisions = []
    for role, text in turns:
        ids += [START_ID, *f"{role}\n".encode()]
        start = len(ids)
        ids += [*text.encode(), END_ID]
        if role == "assistant":
            decisions.append((start, len(ids)))
        ids += [*b"\n"]
    return Conversation(ids, decisions)


def frozen_count(start: int, window: int) -> int:
    """Tokens that are constants for a decision that begins at `start`.

    The token before it predicts its first, so that one has gradient whatever the window.
    """
    return max(0, start - max(1, window))


def logits_of(model: Any, ids: Sequence[int], frozen: int) -> torch.Tensor:
    """(tokens, vocabulary) of a Llama in which keys and values of the first tokens are
    constants."""
    decoder, config = model.model, model.config
    heads, shared = config.num_attention_heads, config.num_key_value_heads
    hidden = decoder.embed_tokens(torch.tensor(ids))
    turn = decoder.rotary_emb(hidden, torch.arange(len(ids))[None])
    cos, sin = (part[0] for part in turn)
    later = torch.ones(len(ids), len(ids)).triu(1).bool()
    for layer in decoder.layers:
        attention, normed = layer.self_attn, layer.input_layernorm(hidden)
        queries = _turned(_by_head(attention.q_proj(normed), heads), cos, sin)
        keys = _turned(_by_head(attention.k_proj(normed), shared), cos, sin)
        values = _by_head(attention.v_proj(normed), shared)
        keys, values = (
            _constant(one, frozen).repeat_interleave(heads // shared, dim=0)
            for one in (keys, values)
        )
        scores = (queries @ keys.mT).float() * queries.shape[-1] ** -0.5
        weights = scores.masked_fill(later, -torch.inf).softmax(-1).to(values.dtype)
        mixed = (weights @ values).transpose(0, 1).flatten(1)
        hidden = hidden + attention.o_proj(mixed)
        normed, mlp = layer.post_attention_layernorm(hidden), layer.mlp
        hidden = hidden + mlp.down_proj(silu(mlp.gate_proj(normed)) * mlp.up_proj(normed))
    return model.lm_head(decoder.norm(hidden))


def _by_head(states: torch.Tensor, heads: int) -> torch.Tensor:
    """(heads, tokens, width) of (tokens, heads x width)."""
    return states.unflatten(-1, (heads, -1)).transpose(0, 1)


def _turned(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat([-second, first], dim=-1) * sin


def _constant(states: torch.Tensor, count: int) -> torch.Tensor:
    """(heads, tokens, width) without gradient through the first `count` tokens."""
    return torch.cat([states[:, :count].detach(), states[:, count:]], dim=1)


def losses_of(model: Any, conversation: Conversation, window: int) -> Iterator[torch.Tensor]:
    """The sum of −ln p over each decision's tokens."""
    for start, end in conversation.decisions:
        ids = conversation.ids[:end]
        logits = logits_of(model, ids[:-1], frozen_count(start, window))
        targets = torch.tensor(ids[start:])
        yield cross_entropy(logits[start - 1 :].float(), targets, reduction="sum")


class Adapted(nn.Module):
    """A linear layer with W·x + (α/r)·B·A·x, of which A and B learn."""

    def __init__(self, layer: nn.Linear, a: torch.Tensor, b: torch.Tensor, factor: float) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.a, self.b = nn.Parameter(a.clone()), nn.Parameter(b.clone())
        self.factor = factor

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """states: (tokens, width)."""
        return self.layer(states) + self.factor * (states @ self.a.T @ self.b.T)

    def merged(self) -> torch.Tensor:
        """The one matrix that does the same."""
        return (self.layer.weight + self.factor * self.b @ self.a).detach()


def adapt(model: Any, start: Mapping[str, tuple[torch.Tensor, torch.Tensor]], factor: float) -> Any:
    """Put adapters on layers in place; start: A and B by the layer's name."""
    model.requires_grad_(False)
    for name, (a, b) in start.items():
        parent, _, own = name.rpartition(".")
        layer = model.get_submodule(name)
        setattr(model.get_submodule(parent), own, Adapted(layer, a, b, factor))
    return model


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    """Every weight under its plain name, adapters merged; a tied head is not there twice."""
    weights = {}
    for name, module in model.named_modules():
        if isinstance(module, Adapted):
            weights[f"{name}.weight"] = module.merged()
    for name, parameter in model.named_parameters():
        if not name.endswith((".layer.weight", ".a", ".b")):
            weights[name] = parameter.detach()
    return weights


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a plain training does."""

    window: int = 0
    rate: float = 1e-3
    decay: float = 0.1
    largest_norm: float | None = None


class PlainTraining:
    """AdamW (Loshchilov & Hutter, Algorithm 2): β 0.9 and 0.999, ε 1e-8; vectors do not decay.

    It computes in float32 and rounds what is kept to the weights' type.
    """

    def __init__(self, model: Any, recipe: Recipe) -> None:
        self.model = model
        self.recipe = recipe
        learning = [one for one in model.parameters() if one.requires_grad]
        self.parameters = sorted(learning, key=lambda one: one.ndim < 2)  # matrices first
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters]
        self.steps = 0

    def gradients(self, conversations: Sequence[Conversation]) -> tuple[float, list[torch.Tensor]]:
        """The mean loss in nats a decision token, and its gradient, matrices first."""
        self.model.zero_grad(set_to_none=True)
        spans = [span for one in conversations for span in one.decisions]
        count, total = sum(end - start for start, end in spans), 0.0
        for conversation in conversations:
            for loss in losses_of(self.model, conversation, self.recipe.window):
                (loss / count).backward()
                total += loss.item()
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        assert len(gradients) == len(self.parameters)
        limit = self.recipe.largest_norm
        if limit is not None:
            norm = torch.stack([one.float().square().sum() for one in gradients]).sum().sqrt()
            gradients = [one * min(1.0, limit / norm.item()) for one in gradients]
        return total / count, gradients

    @torch.no_grad()
    def step(self, gradients: Sequence[torch.Tensor]) -> None:
        """Move every weight."""
        self.steps += 1
        for parameter, gradient, (first, second) in zip(
            self.parameters, gradients, self.moments, strict=True
        ):
            g, decay = gradient.float(), self.recipe.decay if parameter.ndim >= 2 else 0.0
            m = 0.9 * first.float() + 0.1 * g
            v = 0.999 * second.float() + 0.001 * g * g
            direction = m / (1 - 0.9**self.steps)
            direction = direction / ((v / (1 - 0.999**self.steps)).sqrt() + 1e-8)
            weight = parameter.float()
            parameter.copy_(weight - self.recipe.rate * (direction + decay * weight))
            first.copy_(m)
            second.copy_(v)
