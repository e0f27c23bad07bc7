"""The check at load that frozen streaming gives a model's own logits, and that backward works.

Some architectures are wrong under a cache without any error, others fail only in the backward. So
a slice of real data is streamed in two decisions and compared with a plain forward, once a run.
"""

import torch
from torch import nn

from training.config import ConfigError
from training.conversations import EncodedExample, Segment
from training.engine import is_out_of_memory
from training.streaming import StreamReader, base_model, frozen_losses

_SLICE_TOKENS = 96
_TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
_CURE = "Set context_frozen to false for this model."


def parity_check(model: nn.Module, token_ids: list[int], device: torch.device) -> float:
    """Return the largest difference of logits, relative to the largest logit.

    Raises ConfigError, naming the architecture, where streaming does not match. Leaves no
    gradients and the model in the mode it was in. The slice is longer than the model's attention
    window where the data allows.
    """
    config = base_model(model).config
    window = getattr(config, "sliding_window", None) or 0
    ids = (token_ids * (_SLICE_TOKENS // len(token_ids) + 1))[: max(_SLICE_TOKENS, window + 32)]
    kind = config.model_type
    was_training = model.training
    model.eval()
    try:
        difference = _logits_compare(model, ids, device)
        _backward_try(model, ids, device)
    except (RuntimeError, IndexError, TypeError, AttributeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        message = f"models of type {kind} cannot be streamed with frozen context ({error})"
        raise ConfigError("context_frozen", message, _CURE) from error
    finally:
        model.zero_grad(set_to_none=True)
        model.train(was_training)
    dtype = next(model.parameters()).dtype
    if not difference <= _TOLERANCES.get(dtype, 5e-2):  # a NaN is refused as well
        message = f"models of type {kind} give other logits when streamed ({difference:.2g} off)"
        raise ConfigError("context_frozen", message, _CURE)
    return difference


def _cuts(length: int) -> tuple[Segment, Segment]:
    """Two decisions with context before and between them."""
    quarter = length // 4
    return (
        Segment(start=quarter, end=2 * quarter, is_decision=True),
        Segment(start=3 * quarter, end=length, is_decision=True),
    )


@torch.no_grad()
def _logits_compare(model: nn.Module, ids: list[int], device: torch.device) -> float:
    plain = model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits[0].float()
    reader = StreamReader(model, ids, device)
    largest = 0.0
    for cut in _cuts(len(ids)):
        reader.context(cut.start - 1)
        streamed = reader.decision(cut.end - 1).float()
        difference = (streamed - plain[cut.start - 1 : cut.end - 1]).abs().max()
        largest = max(largest, difference.item()) if difference.isfinite() else float("nan")
        if largest != largest:
            return largest
    return largest / (1.0 + plain.abs().max().item())


def _backward_try(model: nn.Module, ids: list[int], device: torch.device) -> None:
    example = EncodedExample(token_ids=ids, segments=list(_cuts(len(ids))))
    for loss in frozen_losses(model, [example], device):
        loss.nll_sum.backward()
