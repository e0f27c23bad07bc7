"""Recipes: what people may set of a run, the words for it, and its check before any GPU time."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.checks import ConfigError
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch, HeldOutSet
from ftportal.pages.templatetags.pages import rate
from ftportal.runs.defences import defence_words
from ftportal.runs.watching import brake_check, probe_records, watch_words
from training.config import AUTO, GROUPS, MethodConfig, RunConfig
from training.methods import METHODS
from training.methods.apollo import Apollo

SCHEDULE_NAMES = {
    "constant": "Constant",
    "linear": "Falls evenly to zero",
    "cosine": "Falls to zero along a cosine",
}
DEVICE_NAMES = {
    "auto": "the GPU where there is one",
    "cpu": "the processor",
    "cuda": "the GPU",
}
SHARDING_NAMES = {
    "none": "the whole model",
    "fsdp2": "a part of the model (FSDP2)",
}
DIAGNOSTIC_NAMES = {
    "gradient_sparsity": "gradient sparsity",
    "gradient_cosine": "frozen against full gradient",
    "change_rank": "rank of the change",
    "sharpness": "sharpness",
}

FIELD_GROUPS = {
    (group if one.name == "name" else one.name): group
    for group, cls in GROUPS.items()
    for one in dataclasses.fields(cls)
}
"""The form's name of every field that stands in a group of the engine's config."""
PLACES = ("model", "anchor_model", "batches", "probes")
"""Fields of the engine's config that a recipe does not have: they come from the run itself."""
_NEVER_EMPTY = ("save_every_steps", "device")
"""Fields outside of groups for which None means nothing: left empty they take their defaults."""

Mixture = Sequence[tuple[Batch, float]]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong with one field of a run, and what to do."""

    field: str
    message: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".strip()


def batch_key(batch: Batch) -> str:
    """How the engine names a batch in its metrics."""
    return f"b{batch.pk}"


def config_build(
    *,
    parent: Checkpoint,
    mixture: Mixture,
    recipe: Mapping[str, Any],
    probe_set: HeldOutSet | None = None,
) -> RunConfig:
    """The engine's whole configuration; raises ConfigError, which names the field.

    `probe_set` is the text that is watched, for recipes that watch anything.
    """
    for field in PLACES:
        if field in recipe:
            raise ConfigError(field, "does not belong to a recipe", "Leave it out.")
    anchor = parent.language_model.pretrained
    record = {
        **recipe,
        "model": str(parent.directory.resolve()),
        "anchor_model": str(anchor.directory.resolve()) if anchor.deleted_at is None else None,
        "batches": [
            {
                "key": batch_key(batch),
                "name": batch.name,
                "kind": str(batch.kind),
                "path": str(batch.examples_path.resolve()),
                "weight": weight,
            }
            for batch, weight in mixture
        ],
        "probes": probe_records(probe_set, recipe),
    }
    config = RunConfig.from_json(record)
    brake_check(config, [batch for batch, _ in mixture])
    return config


def recipe_of(config: RunConfig) -> dict[str, Any]:
    """The recipe that a config follows, complete with every default."""
    return {name: value for name, value in config.to_json().items() if name not in PLACES}


def recipe_nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe from the form's flat values; None and "" leave a field to its default.

    The form calls a field of a group, such as method.rank, by its own name; method.name is
    `method`.
    """
    recipe: dict[str, Any] = {}
    for name, value in values.items():
        group = FIELD_GROUPS.get(name)
        if name in _NEVER_EMPTY and value in (None, ""):
            continue
        if group is not None and value not in (None, ""):
            recipe.setdefault(group, {})["name" if name == group else name] = value
        elif group is None:
            recipe[name] = value
    return recipe


def recipe_flatten(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The form's flat values of a recipe; "" for what is not set, as an empty field says it."""
    values: dict[str, Any] = {}
    for name, value in recipe.items():
        if name in GROUPS:
            own = {(name if key == "name" else key): one for key, one in (value or {}).items()}
            values |= own
        else:
            values[name] = value
    return {name: "" if value is None else value for name, value in values.items()}


def recipe_problem(error: ConfigError) -> Problem:
    """A config's error in the words of the form."""
    group, _, name = error.where.rpartition(".")
    field = group if name == "name" else name or group
    if error.where.startswith("batches"):
        field = "mixture"
    message = error.message if error.message.endswith(".") else f"{error.message}."
    return Problem(field=field, message=message[0].upper() + message[1:], cure=error.cure)


def shares(mixture: Mixture) -> list[float]:
    """Each batch's share of the examples, adding up to one."""
    total = sum(weight for _, weight in mixture)
    return [weight / total for _, weight in mixture]


def method_name(recipe: Mapping[str, Any]) -> str:
    """The method as people write it, with the rank in force where it has one to choose."""
    method = recipe.get("method") or {}
    name = str(method.get("name", MethodConfig.name))
    if name not in METHODS:  # of a version that knew it
        return name
    return METHODS[name].words(method.get("rank"))


def length_words(length: float | None) -> str:
    """A displacement in a few digits, however absurd the recipe that leads to it."""
    if length is None:
        return "–"
    if length >= 1e6 or 0 < length < 1e-3:
        return f"{length:.1e}"
    return f"{length:,.0f}" if length >= 100 else f"{length:.3g}"


def recipe_words(
    recipe: Mapping[str, Any], probe_set: HeldOutSet | None = None
) -> list[tuple[str, str]]:
    """A recipe and the text that is watched as rows of label and value, what matters most first."""
    get = recipe.get
    method = get("method") or {}
    limit = get("max_gradient_norm")
    rows = [
        ("Method", method_name(recipe)),
        ("Learning rate", rate(get("learning_rate"))),
        ("Epochs", str(get("epochs", 1))),
        ("Steps at most", str(get("max_steps") or "no limit")),
        ("Examples per step", str(get("examples_per_step", 1))),
        ("Context", context_words(recipe)),
        ("Schedule", SCHEDULE_NAMES.get(str(get("schedule", "constant")), str(get("schedule")))),
        ("Warm-up", f"{get('warmup_steps', 0)} steps"),
        ("Weight decay", f"{get('weight_decay', 0.0):g}"),
        ("Gradient clipped at", "not clipped" if limit is None else f"norm {limit:g}"),
        ("Longest example", f"{get('max_example_tokens', 0):,} tokens"),
        ("Precision", str(get("dtype", "float32"))),
        ("Seed", str(get("seed", 0))),
        ("Saves its state", f"every {get('save_every_steps', 20):,} steps"),
    ]
    if get("device", "auto") != "auto" or get("threads") is not None:
        rows.append(("Computes on", _place_words(recipe)))
    if (get("ranks") or {}).get("processes", 1) != 1:
        rows.append(("Processes", ranks_words(get("ranks") or {})))
    diagnostics = get("diagnostics")
    if diagnostics:  # runs of earlier versions have none
        rows.append(("Measures", diagnostics_words(diagnostics)))
    if method.get("scale") is not None:
        rows.insert(1, ("Scale", f"{method['scale']:g}"))
    if method.get("implementation") is not None:  # runs before there were two have none
        name = str(method["implementation"])
        rows.insert(1, ("APOLLO by", Apollo.implementations.get(name, name)))
    if method.get("lora_alpha") is not None:
        rows.insert(1, ("LoRA alpha", f"{method['lora_alpha']:g}"))
    if method.get("base_bits") is not None:
        words = f"in {method['base_bits']} bit; merged into the weights as the parent has them"
        rows.insert(1, ("LoRA's base is held", words))
    return rows + defence_words(recipe) + watch_words(recipe, probe_set)


def context_words(recipe: Mapping[str, Any]) -> str:
    """What of the context gets gradient, and how many conversations are walked at once."""
    settings = recipe.get("context") or {}  # runs of earlier versions have none
    window, together = settings.get("grad_window", 0), settings.get("conversations_at_once")
    words = "with gradient"
    if recipe.get("context_frozen", True):
        words = f"frozen but for the last {window:,} tokens" if window else "frozen: no gradient"
    if together is None:
        return words
    return f"{words}; {together} conversation{'' if together == 1 else 's'} at once"


def _place_words(recipe: Mapping[str, Any]) -> str:
    device, threads = str(recipe.get("device", "auto")), recipe.get("threads")
    words = DEVICE_NAMES.get(device, device)
    if threads is None:
        return words
    return f"{words}, {threads} thread{'' if threads == 1 else 's'}"


def ranks_words(ranks: Mapping[str, Any]) -> str:
    """How many processes share a run, and what each of them holds."""
    count = ranks.get("processes", 1)
    how_many = "one for each GPU" if count == AUTO else str(count)
    sharding = str(ranks.get("sharding", "none"))
    return f"{how_many}; each holds {SHARDING_NAMES.get(sharding, sharding)}"


def diagnostics_words(settings: Mapping[str, Any]) -> str:
    """What a run measures beside its loss, and how much time that may take."""
    chosen = [name for key, name in DIAGNOSTIC_NAMES.items() if settings.get(key, True)]
    if not chosen:
        return "the loss and the displacement only"
    share = f"{100 * settings.get('diagnostics_share', 0.05):g} %"
    return f"{', '.join(chosen)}; each at most {share} of the time"
