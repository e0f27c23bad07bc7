"""What makes a recipe risky: the warnings that the run form shows and the engine repeats.

The ranges are those in which full fine-tuning, LoRA and APOLLO are known to learn without
forgetting much; outside them a run is allowed, but the submitter is told. No torch here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.tensornames import is_projected
from training.config import MethodConfig, RunConfig
from training.methods import METHODS
from training.methods.method import Method

SAFE_EPOCHS_MAX = 3
SAFE_EXAMPLES = (1000, 10_000)
SAFE_DECISION_TOKENS = (50, 256)
GENERAL_SHARE_MIN = 0.2
EWC_EXAMPLES_MIN = 16
MASK_BELOW_MAX = 0.05
BRAKE_RISES = (0.01, 0.2)


@dataclass(frozen=True, kw_only=True)
class RecipeWarning:
    """One reason for care: the field it is about and a sentence for the user."""

    field: str
    message: str


def recipe_warnings(
    recipe: RunConfig | Mapping[str, Any],
    *,
    example_count: int | None = None,
    decision_tokens_per_example: float | None = None,
) -> list[RecipeWarning]:
    """Return the warnings for a config, or for a mapping with (some of) its JSON fields.

    Fields that are missing or no number are passed over: saying that they are wrong is the
    config's own work. `batches` needs only kind and weight here.
    """
    values = recipe.to_json() if isinstance(recipe, RunConfig) else recipe
    method = values.get("method") or {}
    method = method if isinstance(method, Mapping) else {"name": str(method)}
    return [
        *_rate_warnings(_method(method), values.get("learning_rate")),
        *_amount_warnings(values.get("epochs"), example_count, decision_tokens_per_example),
        *_mixture_warnings(values.get("batches") or ()),
        *_diagnostics_warnings(values),
        *_ranks_warnings(values),
        *_arithmetic_warnings(method, values),
        *_base_warnings(method),
        *_defence_warnings(values.get("defences") or {}),
        *_brake_warnings(values.get("watch") or {}),
    ]


def data_warnings(
    config: RunConfig,
    *,
    example_count: int | None = None,
    general_count: int | None = None,
    tensor_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> list[RecipeWarning]:
    """Return what a recipe asks for in vain of its examples and its parent.

    example_count: that the run learns in all, over all epochs. general_count: different general
    ones that it may learn. tensor_shapes: of the parent. What is not known is not looked at.
    """
    warnings = []
    wanted = config.examples_per_step
    if example_count is not None and wanted > example_count:
        message = (
            f"A step asks for {wanted:,} examples and the run has {example_count:,} in all: it is "
            f"one step of {example_count:,}. Use {example_count:,} or fewer, or more examples."
        )
        warnings.append(RecipeWarning(field="examples_per_step", message=message))
    wanted = config.defences.ewc_examples or 0
    if general_count is not None and wanted > general_count:
        message = (
            f"EWC asks for {wanted:,} general examples and there are {general_count:,}: it "
            "measures on those. Add general examples, or ask for fewer."
        )
        warnings.append(RecipeWarning(field="ewc_examples", message=message))
    sides = [min(s[-2:]) for name, s in (tensor_shapes or {}).items() if is_projected(name, s)]
    wanted = config.method.rank or 0
    if sides and wanted > max(sides):
        message = (
            f"Rank {wanted:,} is above the smaller side of every matrix of this model: each has "
            f"its own smaller side as rank, {max(sides):,} at most."
        )
        warnings.append(RecipeWarning(field="rank", message=message))
    return warnings


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _method(values: Mapping[str, Any]) -> Method | None:
    """The method of a recipe's fields; None where it is unknown, which the config refuses."""
    return METHODS.get(values.get("name", MethodConfig.name))


def _rate_warnings(method: Method | None, rate: Any) -> list[RecipeWarning]:
    if method is None or not _is_number(rate) or rate <= 0:
        return []
    low, high = method.safe_rates
    if low <= rate <= high:
        return []
    effect = "the model may forget much" if rate > high else "it may learn nothing in so few steps"
    safe = f"{rate_words(low)} to {rate_words(high)}"
    message = f"The rate {rate_words(rate)} is outside {safe}, the safe range here: {effect}."
    return [RecipeWarning(field="learning_rate", message=message)]


def _amount_warnings(
    epochs: Any, example_count: int | None, decision_tokens: float | None
) -> list[RecipeWarning]:
    warnings = []
    if _is_number(epochs) and epochs > SAFE_EPOCHS_MAX:
        message = f"{epochs:g} epochs: beyond {SAFE_EPOCHS_MAX} the examples are memorised."
        warnings.append(RecipeWarning(field="epochs", message=message))
    if example_count is not None:
        low, high = SAFE_EXAMPLES
        if not low <= example_count <= high:
            message = f"{example_count:,} examples; {low:,} to {high:,} are usual for one run."
            warnings.append(RecipeWarning(field="batches", message=message))
    if decision_tokens is not None:
        low, high = SAFE_DECISION_TOKENS
        if not low <= decision_tokens <= high:
            message = f"{decision_tokens:.0f} decision tokens an example; {low} to {high} are best."
            warnings.append(RecipeWarning(field="batches", message=message))
    return warnings


def _mixture_warnings(batches: Any) -> list[RecipeWarning]:
    pairs = [(b.get("kind"), b.get("weight", 1.0)) for b in batches if isinstance(b, Mapping)]
    total = sum(weight for _, weight in pairs if _is_number(weight))
    if total <= 0:
        return []
    general = sum(w for kind, w in pairs if kind == "general" and _is_number(w))
    share = general / total
    if share >= GENERAL_SHARE_MIN - 1e-9:
        return []
    message = (
        f"{100 * share:.0f} % of the examples are general; below {100 * GENERAL_SHARE_MIN:.0f} % "
        "the model may forget what it does not see. Add general examples."
    )
    return [RecipeWarning(field="batches", message=message)]


def _diagnostics_warnings(values: Mapping[str, Any]) -> list[RecipeWarning]:
    settings, warnings = values.get("diagnostics") or {}, []
    if values.get("dtype") == "bfloat16" and settings.get("sharpness", True):
        message = (
            "Sharpness is not measured in bfloat16: its rounding is larger than the difference."
        )
        warnings.append(RecipeWarning(field="sharpness", message=message))
    if not values.get("context_frozen", True) and settings.get("gradient_cosine", True):
        message = (
            "Frozen and full gradient are not compared, for the context is not frozen: all of the "
            "gradient is learnt from."
        )
        warnings.append(RecipeWarning(field="gradient_cosine", message=message))
    return warnings


def _ranks_warnings(values: Mapping[str, Any]) -> list[RecipeWarning]:
    ranks, warnings = values.get("ranks") or {}, []
    count, examples = ranks.get("processes", 1), values.get("examples_per_step", 1)
    if _is_number(count) and _is_number(examples) and count > examples:
        message = (
            f"A step has {examples:,} examples for {count:,} processes: the others wait. "
            f"Raise the examples per step to {count:,} or more."
        )
        warnings.append(RecipeWarning(field="processes", message=message))
    together = (values.get("context") or {}).get("conversations_at_once")
    if _is_number(together) and _is_number(count) and _is_number(examples) and count > 1:
        own = max(1, -(-examples // count))
        if own < together <= examples:
            message = (
                f"{count:,} processes share a step's {examples:,} examples, so none walks "
                f"{together:,} side by side but {own:,} at most. Raise the examples per step."
            )
            warnings.append(RecipeWarning(field="conversations_at_once", message=message))
    if ranks.get("sharding", "none") != "none":
        message = (
            "Where each process holds a part of the model, gradient sparsity, the gradient's "
            "cosine and sharpness are not measured, and the rank of the change at the end only."
        )
        warnings.append(RecipeWarning(field="sharding", message=message))
    return warnings


def _arithmetic_warnings(
    method: Mapping[str, Any], values: Mapping[str, Any]
) -> list[RecipeWarning]:
    warnings = []
    kind = _method(method)
    if values.get("dtype") == "bfloat16" and kind is not None and not kind.is_adapter:
        own = kind.keeps_float32_moments(method.get("implementation"))
        moment = ", and the optimizer's second moment never decays (v × 0.999 rounds back to v)"
        message = (
            f"In bfloat16 small updates round away{'' if own else moment}. "
            "Use float32 where memory allows."
        )
        warnings.append(RecipeWarning(field="dtype", message=message))
    if "max_gradient_norm" in values and values["max_gradient_norm"] is None:
        message = "Without a gradient limit one odd example can move the model far."
        warnings.append(RecipeWarning(field="max_gradient_norm", message=message))
    return warnings


def _base_warnings(method: Mapping[str, Any]) -> list[RecipeWarning]:
    bits = method.get("base_bits")
    if bits is None:
        return []
    message = (
        f"Losses, watched texts, the KL divergence and what the parent finds unlikely are those of "
        f"the base in {bits} bit. The checkpoint, its displacement and its evaluation are those of "
        "the adapter merged into the weights as the parent's files have them."
    )
    return [RecipeWarning(field="base_bits", message=message)]


def _defence_warnings(defences: Any) -> list[RecipeWarning]:
    if not isinstance(defences, Mapping):
        return []
    warnings = []
    examples: Any = defences.get("ewc_examples")
    if _is_number(examples) and examples < EWC_EXAMPLES_MIN:
        message = (
            f"EWC on {examples:g} general examples knows little of what matters; "
            f"use {EWC_EXAMPLES_MIN} or more."
        )
        warnings.append(RecipeWarning(field="ewc_examples", message=message))
    threshold: Any = defences.get("mask_below_probability")
    if _is_number(threshold) and threshold > MASK_BELOW_MAX:
        message = (
            f"Tokens that the parent gives a probability below {threshold:g} are much of what is "
            "new in a batch: without them it may hardly be learnt."
        )
        warnings.append(RecipeWarning(field="mask_below_probability", message=message))
    return warnings


def _brake_warnings(watch: Any) -> list[RecipeWarning]:
    rise: Any = watch.get("brake_rise") if isinstance(watch, Mapping) else None
    if not _is_number(rise) or BRAKE_RISES[0] <= rise <= BRAKE_RISES[1]:
        return []
    effect = "stops at next to nothing" if rise < BRAKE_RISES[0] else "stops when much is lost"
    message = f"A brake at a rise of {100 * rise:g} % {effect}; 5 % is a start."
    return [RecipeWarning(field="brake_rise", message=message)]


def rate_words(rate: float) -> str:
    """A rate as people write it: 1e-5, not 1e-05."""
    mantissa, exponent = f"{rate:.3e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
