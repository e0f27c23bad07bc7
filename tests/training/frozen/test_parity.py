"""The check at load refuses what goes wrong without a word, and the traps of streaming."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from engine.checks import ConfigError
from tests.training.frozen.test_streaming import CPU, example, gradients
from tests.training.shapes import shape
from training.frozen import caches, reader
from training.frozen.parity import parity_check
from training.frozen.streaming import frozen_losses

ITEM = example((21, 30), (40, 50), length=51)
IDS = ITEM.token_ids


def test_it_leaves_no_gradient_and_the_model_as_it_was() -> None:
    model = shape("llama").train()
    result = parity_check(model, IDS[:5], CPU)
    assert max(result.logits, result.gradient) < 1e-5
    assert all(p.grad is None for p in model.parameters())
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_it_compares_adapters_too() -> None:
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(shape("qwen3"), settings)
    assert parity_check(model, IDS, CPU, together=2).gradient < 1e-5


def test_windows_longer_than_the_slice_make_it_longer() -> None:
    """And then the reference recomputes its layers, for it would take much memory."""
    model = shape("mistral")
    model.config.sliding_window = 600
    seen: list[int] = []
    handle = model.model.embed_tokens.register_forward_hook(
        lambda _, __, output: seen.append(output.shape[1])
    )
    assert parity_check(model, IDS, CPU).gradient < 1e-4
    handle.remove()
    assert max(seen) > 600
    assert not model.is_activation_checkpointing
    assert not any(module.training for module in model.modules())


def test_a_mask_over_the_new_tokens_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = reader.StreamReader._inputs

    def narrow(self: Any, ends: Sequence[int]) -> dict[str, Any]:
        inputs = plain(self, ends)
        length = inputs["input_ids"].shape[1]
        cached = self.cache.get_seq_length()
        mask = torch.ones(length, length, dtype=torch.bool).tril()
        blind = torch.zeros(length, cached, dtype=torch.bool)
        return {**inputs, "attention_mask": torch.cat([blind, mask], dim=1)[None, None]}

    monkeypatch.setattr(reader.StreamReader, "_inputs", narrow)
    with pytest.raises(ConfigError, match="llama give other logits"):
        parity_check(shape("llama"), IDS, CPU)


def test_a_gradient_that_stops_short_is_refused() -> None:
    """As in a model that treats its cache as generation only: the logits alone do not tell."""
    model = shape("llama")

    def stop(module: Any, inputs: Any, keywords: dict[str, Any], output: Any) -> Any:
        if keywords.get("past_key_values") is None:
            return output
        return (output[0].detach(), *output[1:])

    model.model.layers[1].self_attn.register_forward_hook(stop, with_kwargs=True)
    with pytest.raises(ConfigError, match="llama get another gradient"):
        parity_check(model, IDS, CPU)


def test_not_a_number_is_refused() -> None:
    model = shape("llama")
    with torch.no_grad():
        model.model.norm.weight[0] = torch.nan
    with pytest.raises(ConfigError, match="give other logits"):
        parity_check(model, IDS, CPU)


@pytest.mark.parametrize("name", ["qwen3_5", "qwen3_next"])
def test_states_written_in_place_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stock cache fails in the backward: hence `training.frozen.caches`."""
    monkeypatch.setattr(caches, "_ASSIGNED", {})
    with pytest.raises(ConfigError, match="cannot be streamed"):
        parity_check(shape(name), IDS, CPU)


def test_a_cache_without_the_models_config_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = DynamicCache.__init__

    def without(self: Any, *_: Any, **__: Any) -> None:
        plain(self)

    monkeypatch.setattr(DynamicCache, "__init__", without)
    with pytest.raises(ConfigError, match="qwen3_5_text cannot be streamed"):
        parity_check(shape("qwen3_5"), IDS, CPU)


def test_gradient_checkpointing_is_refused() -> None:
    """It would switch the cache off in the decisions, with no more than a log line."""
    model = shape("llama").train()
    for layer in model.model.layers:
        layer.gradient_checkpointing = True
    with pytest.raises(ConfigError, match="switches caches off"):
        parity_check(model, IDS, CPU)
    with pytest.raises(ValueError, match="gradient checkpointing"):
        next(iter(frozen_losses(model, [ITEM], CPU)))


def test_windows_with_pads_need_masks_by_position(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window counted in slots of the cache sees too little once there are pads among them."""
    model = shape("gemma3")
    assert parity_check(model, IDS, CPU, together=2).can_pad
    plain = reader.StreamReader._masks

    def by_slot(self: Any, positions: torch.Tensor) -> Any:
        total = self.places.shape[1]
        kept, slots = self.places, torch.arange(total).expand_as(self.places)
        self.places = torch.where(kept < 0, kept, slots)
        try:
            return plain(self, slots[:, total - positions.shape[1] :])
        finally:
            self.places = kept

    monkeypatch.setattr(reader.StreamReader, "_masks", by_slot)
    assert not parity_check(model, IDS, CPU, together=2).can_pad


def test_the_head_reads_no_context() -> None:
    model = shape("llama")
    seen: list[tuple[int, ...]] = []
    model.lm_head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    gradients(model, frozen_losses(model, [ITEM], CPU))
    assert seen == [(1, 9, 32), (1, 10, 32)]


@pytest.mark.parametrize("name", ["gpt2", "gemma3", "qwen3_5"])
def test_the_last_layer_does_nothing_for_context_but_keys_and_values(name: str) -> None:
    model = shape(name)
    layers = getattr(model.get_decoder(), "layers", None) or model.get_decoder().h
    seen: dict[int, list[int]] = {0: [], 1: []}
    for index in seen:
        layers[index].mlp.register_forward_hook(
            lambda _, inputs, __, index=index: seen[index].append(inputs[0].shape[1])
        )
    gradients(model, frozen_losses(model, [ITEM], CPU))
    assert seen == {0: [20, 9, 10, 10], 1: [9, 10]}


def test_what_is_cached_can_enter_autograd_and_carries_no_graph() -> None:
    """no_grad and not inference_mode; and after its backward a decision is context."""
    model = shape("qwen3_5")
    seen: list[torch.Tensor] = []
    kept = caches.StreamCache.detach

    def look(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(tensor)
        return tensor

    def detach(self: caches.StreamCache) -> None:
        kept(self)
        self.change(look)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caches.StreamCache, "detach", detach)
        gradients(model, frozen_losses(model, [ITEM], CPU))
    assert len(seen) == 2 * 4  # two decisions; keys, values, a convolution's and a rule's state
    assert not any(tensor.is_inference() or tensor.requires_grad for tensor in seen)


def test_nothing_cached_outlives_a_step() -> None:
    model, other = shape("llama"), shape("llama")
    before, _ = gradients(model, frozen_losses(model, [ITEM], CPU))
    with torch.no_grad():
        for network in (model, other):
            for parameter in network.parameters():
                parameter += 0.05
    after, _ = gradients(model, frozen_losses(model, [ITEM], CPU))
    assert after != pytest.approx(before, rel=1e-3)
    assert after == gradients(other, frozen_losses(other, [ITEM], CPU))[0]


def _dropouts(model: Any) -> Iterator[torch.nn.Dropout]:
    return (m for m in model.modules() if isinstance(m, torch.nn.Dropout))


def test_dropout_is_on_in_the_context_too() -> None:
    """On purpose: the model reads its context as it does under label masking."""
    model = shape("gpt2").train()
    seen: list[tuple[int, bool]] = []
    for part in _dropouts(model):
        part.p = 0.5
        part.register_forward_hook(
            lambda module, inputs, _: seen.append((inputs[0].shape[1], module.training))
        )
    gradients(model, frozen_losses(model, [ITEM], CPU))
    assert (20, True) in seen  # the tokens before the first decision, but for the last
    assert all(is_on for _, is_on in seen)
