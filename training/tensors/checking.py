"""Whether plain transformers loads a model directory by its own class, told without its numbers.

The class is built on torch's meta device and given tensors of the files' shapes there, so all of
transformers' own rules for names apply and no weight is read.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import init_empty_weights
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM

from engine.attempt import EngineError
from engine.checks import ConfigError
from engine.process import FAILED
from engine.tensorfiles import tensor_shapes
from training.models import EAGER_ATTENTION, LOADING_CURE, text_alone_learns, weights_check


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a directory's tensors fit the class that its config.json names."""

    class_name: str
    missing: tuple[str, ...]
    """What the class needs and the files lack, or hold in another shape."""
    unexpected: tuple[str, ...]
    """What the files hold and the class does not know."""


def fit_of(directory: Path | str) -> Fit:
    """Compare names and shapes. Raises ValueError, KeyError or OSError where the class or its
    config cannot be made."""
    config = _config(directory)
    settings = json.loads((Path(directory) / "config.json").read_bytes())
    names = settings.get("architectures") or []
    known = _causal_class(config)
    if names:
        known = getattr(transformers, str(names[0]), None)
    if known is None:
        raise ValueError(f"transformers {transformers.__version__} has no class {names[0]}")
    model, info = _loaded_empty(known, config, directory)
    missing = {*info["missing_keys"], *(one[0] for one in info["mismatched_keys"])}
    return Fit(
        class_name=type(model).__name__,
        missing=tuple(sorted(missing)),
        unexpected=tuple(sorted(info["unexpected_keys"])),
    )


def empty_causal_model(directory: Path | str) -> Any:
    """Return the model of a directory as it is taught by text, on the meta device: names and shapes
    without numbers. Raises as `fit_of` does."""
    config = _config(directory)
    model, _ = _loaded_empty(_causal_class(config), config, directory)
    text_alone_learns(model)
    return model


def model_without_weights(directory: Path | str, dtype: torch.dtype) -> Any:
    """Return what `causal_model` does with all parameters, and what is stored of buffers, still to
    be read: parameters on the meta device. Raises ConfigError as that does."""
    try:
        config = _config(directory)
        model, info = _loaded_empty(_causal_class(config), config, directory, dtype)
    except (ValueError, KeyError, OSError) as error:
        raise ConfigError("model", f"cannot be loaded: {error}", LOADING_CURE) from error
    weights_check(info)
    _buffers_make(model, dtype)
    text_alone_learns(model)
    return model


def _buffers_make(model: Any, dtype: torch.dtype) -> None:
    """Compute what the class computes at its start, such as the frequencies of rotary positions."""
    with init_empty_weights(include_buffers=False):
        fresh: Any = AutoModelForCausalLM.from_config(
            model.config, dtype=dtype, attn_implementation=_attention(model.config)
        )
    for (_, module), (_, made) in zip(model.named_modules(), fresh.named_modules(), strict=True):
        computed = dict(made.named_buffers(recurse=False))
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:
                setattr(module, name, computed[name].to(buffer.dtype))


def _attention(config: Any) -> str | None:
    return "eager" if config.model_type in EAGER_ATTENTION else None


def _config(directory: Path | str) -> Any:
    return AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)


def _causal_class(config: Any) -> Any:
    """The class that transformers itself chooses for continuing text; KeyError without one."""
    return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]


def _loaded_empty(
    known: Any, config: Any, directory: Path | str, dtype: torch.dtype | None = None
) -> tuple[Any, dict[str, Any]]:
    """A class, and what transformers says of loading tensors of the directory's shapes into it."""
    if type(config) is not known.config_class:
        config = config.get_text_config()
    shapes = tensor_shapes(directory)
    with _quiet():
        loaded: Any = known.from_pretrained(
            None,
            config=config,
            dtype=dtype or "auto",
            attn_implementation=_attention(config),
            state_dict={name: torch.empty(one, device="meta") for name, one in shapes.items()},
            device_map={"": "meta"},
            ignore_mismatched_sizes=True,  # they are told by name instead
            output_loading_info=True,
        )
    model, info = loaded
    return model, info


def checkpoint_check(directory: Path, parent: Path) -> Fit:
    """Refuse (EngineError) a checkpoint that other tools could not load as they load its parent."""
    try:
        fit, before = fit_of(directory), fit_of(parent)
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        words = str(error).strip().splitlines()[0]
        raise _failure(f"cannot be loaded by transformers: {words}") from error
    if fit.class_name != before.class_name:
        raise _failure(f"is a {fit.class_name}, and its parent a {before.class_name}")
    if lost := sorted(set(fit.missing) - set(before.missing)):
        raise _failure(f"lacks {lost[0]}, which {fit.class_name} needs")
    if odd := sorted(set(fit.unexpected) - set(before.unexpected)):
        raise _failure(f"has {odd[0]}, which {fit.class_name} does not know")
    if set(tensor_shapes(directory)) != set(tensor_shapes(parent)):
        raise _failure("has other tensors than its parent")
    return fit


def _failure(message: str) -> EngineError:
    cure = "Nothing was kept of it; the last saved state is there. Please report this model's type."
    return EngineError(FAILED, "checkpoint", f"the checkpoint {message}", cure)


@contextmanager
def _quiet() -> Iterator[None]:
    """Within, transformers prints no report of its own: it is told here in one sentence."""
    level = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(level)
