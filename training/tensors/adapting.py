"""What of a model LoRA adapts, and what it leaves as it is."""

from typing import Any

from peft import LoraConfig, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from engine.tensornames import TensorName, is_projected
from training.tensors.mapping import TensorMap
from training.tensors.weights import weight_sources

_EXPERT_NAMES = ("gate", "gate_proj", "up_proj", "down_proj", "w1", "w2", "w3")


def adapter_attach(model: Any, rank: int, alpha: float) -> Any:
    """Return the model with an adapter on all that `adapter_targets` names."""
    layers, parameters = adapter_targets(model)
    adapter = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        lora_dropout=0.0,
        target_modules=layers,
        target_parameters=parameters,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, adapter)


def adapter_targets(model: Any) -> tuple[list[str], list[str]]:
    """Return the names of the layers that are adapted, and of weights that are adapted by
    themselves."""
    head = model.get_output_embeddings()
    mixers = {
        # Mamba's kernels take the weight of a mixer's output without asking the layer.
        f"{name}.out_proj"
        for name, module in model.named_modules()
        if hasattr(module, "A_log") and hasattr(module, "in_proj")
    }
    layers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head and name not in mixers
        if module.weight.requires_grad
    ]
    experts = [
        name
        for name, one in model.named_parameters()
        if one.requires_grad and one.ndim == 3 and is_projected(name, tuple(one.shape))
    ]
    if not experts:
        return layers, []
    # Where experts are one tensor, PEFT takes these layers' names for the experts' own.
    claimed = [name for name in layers if name.rpartition(".")[2] in _EXPERT_NAMES]
    others = [name for name in layers if name not in claimed]
    return others, experts + [f"{name}.weight" for name in claimed]


def unadapted_parts(model: nn.Module, tensors: TensorMap) -> list[str]:
    """Return the kinds of taught matrices, such as mlp.gate, that got no adapter."""
    sources = weight_sources(model)
    parts = {
        TensorName.parse(name).part: None
        for group in tensors.groups
        for name in group.parameters
        if sources[name][1] is None and is_projected(name, tuple(sources[name][0].shape))
    }
    return list(parts)
