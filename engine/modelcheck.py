"""What a model directory must be before anything of it is loaded, told from its files alone.

Weights must be safetensors (pickles can run code), the class must be one of transformers' own, and
the tokenizer must be there. No torch here: the portal refuses bad directories before any GPU time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.architectures import architecture_objection
from engine.checks import ConfigError
from engine.jsonfiles import json_file_read
from engine.tensorfiles import INDEX_NAME, SINGLE_NAME, WeightsError, tensor_places

_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz")
_CONFIG_LIMIT_BYTES = 2 << 20
_JSON_LIMIT_BYTES = 10 << 20
TOKENIZER_LIMIT_BYTES = 64 << 20
_TEMPLATE_LIMIT_BYTES = 1 << 20
_OBJECTS = (
    *("generation_config.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "preprocessor_config.json", "processor_config.json"),
    *("video_preprocessor_config.json", "chat_template.json"),
)
"""Files that need not be there, and hold an object where they are."""
_SIZES = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    *("head_dim", "intermediate_size", "vocab_size"),
)
"""What plans are made of before a model is loaded."""
_SIZE_MAX = 1 << 31


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One reason to refuse a directory: the file, what is wrong, what to do."""

    where: str
    message: str
    cure: str


def gguf_file(path: Path | str) -> Path | None:
    """The weights of a directory that holds them as one GGUF, as exports do; None elsewhere."""
    files = list(Path(path).glob("*.gguf"))
    has_safetensors = any((Path(path) / name).exists() for name in (SINGLE_NAME, INDEX_NAME))
    return files[0] if len(files) == 1 and not has_safetensors else None


def model_directory_problems(
    path: Path | str,
    tell: Callable[[str], None] = lambda what: None,
    *,
    weights: bool = True,
    gguf: bool = False,
) -> list[Problem]:
    """Return every reason why the engine refuses this model directory; empty when it is fine.

    tell: is told what is looked at next. weights: whether those are looked at too. gguf: whether
    they may also be one GGUF file, which can be measured but not trained.
    """
    directory = Path(path)
    if not directory.is_dir():
        return [
            Problem(
                where="model",
                message="the model directory does not exist",
                cure="Choose a checkpoint that is still there.",
            )
        ]
    problems: list[Problem] = []
    for what, check in _CHECKS.items():
        tell(what)
        if check is not _weight_problems or (weights and not (gguf and gguf_file(directory))):
            problems += check(directory)
    return problems


def directory_check(where: str, path: str, *, weights: bool = True) -> None:
    """Refuse a model directory with problems; ConfigError names the first of them.

    weights: False where they are still to come.
    """
    problems = model_directory_problems(path, weights=weights)
    if problems:
        first = problems[0]
        raise ConfigError(where, f"{first.where} {first.message}", first.cure)


def _object_read(
    directory: Path, name: str, limit_bytes: int, cure: str
) -> dict[str, Any] | Problem:
    """The JSON object in a file, or why there is none."""
    path = directory / name
    if not path.is_file():
        return Problem(where=name, message="is missing", cure=cure)
    try:
        value = json_file_read(path, limit_bytes=limit_bytes)
    except (OSError, ValueError) as error:
        return Problem(where=name, message=str(error), cure=cure)
    if isinstance(value, dict):
        return value
    return Problem(where=name, message="is not a JSON object", cure=cure)


def _config_problems(directory: Path) -> list[Problem]:
    cure = "Export the model with save_pretrained, which writes config.json."
    config = _object_read(directory, "config.json", _CONFIG_LIMIT_BYTES, cure)
    if isinstance(config, Problem):
        return [config]
    parts = (config, config.get("text_config") or {})
    wrong = [name for part in parts for name in _wrong_sizes(part)]
    return [
        Problem(where="config.json", message=f"has a {name} that is not a size", cure=cure)
        for name in wrong[:1]
    ]


def _wrong_sizes(config: Any) -> list[str]:
    """The sizes in a config that are no whole numbers above 0, nor lists of them."""
    if not isinstance(config, dict):
        return ["text_config"]
    return [name for name in _SIZES if not _is_size(config.get(name, 1))]


def _is_size(value: Any) -> bool:
    several = value if isinstance(value, list) and value else [value]
    return value is None or all(type(one) is int and 0 < one < _SIZE_MAX for one in several)


def _adapter_problems(directory: Path) -> list[Problem]:
    """transformers would load an adapter without being asked, over weights that lack it."""
    if not (directory / "adapter_config.json").exists():
        return []
    return [
        Problem(
            where="adapter_config.json",
            message="belongs to an adapter, and a model must hold all of its weights itself",
            cure="Merge the adapter into the model and save that (merge_and_unload in peft).",
        )
    ]


def _class_problems(directory: Path) -> list[Problem]:
    """Code of a directory's own is no reason: it is never run. Not to know the class is one."""
    try:
        config = json_file_read(directory / "config.json", limit_bytes=_CONFIG_LIMIT_BYTES)
    except (OSError, ValueError):
        return []  # told by what reads it first
    objection = architecture_objection(config) if isinstance(config, dict) else None
    if objection is None:
        return []
    return [Problem(where="config.json", message=objection.message, cure=objection.cure)]


def _other_json_problems(directory: Path) -> list[Problem]:
    cure = "Export the model and its tokenizer again, or leave the file out."
    read = (
        _object_read(directory, name, _JSON_LIMIT_BYTES, cure)
        for name in _OBJECTS
        if (directory / name).exists()
    )
    return [one for one in read if isinstance(one, Problem)]


def _pickle_problems(directory: Path) -> list[Problem]:
    return [
        Problem(
            where=file.name,
            message="is a pickle file, which can run code when it is loaded",
            cure="Convert the weights to safetensors and remove the file.",
        )
        for file in sorted(directory.rglob("*"))
        if file.suffix.lower() in _PICKLE_SUFFIXES
    ]


def _tokenizer_problems(directory: Path) -> list[Problem]:
    cure = "Save the model's fast tokenizer into the directory."
    tokenizer = _object_read(directory, "tokenizer.json", TOKENIZER_LIMIT_BYTES, cure)
    problems = [tokenizer] if isinstance(tokenizer, Problem) else []
    template = directory / "chat_template.jinja"
    if template.is_file() and template.stat().st_size > _TEMPLATE_LIMIT_BYTES:
        message = f"has more than {_TEMPLATE_LIMIT_BYTES:,} bytes"
        problems.append(Problem(where=template.name, message=message, cure="Shorten it."))
    return problems


def _weight_problems(directory: Path) -> list[Problem]:
    cure = "Save the model's weights as safetensors, all parts in this directory."
    try:
        tensor_places(directory)
    except WeightsError as error:
        return [Problem(where=error.file, message=error.message, cure=cure)]
    except OSError as error:
        where = Path(error.filename or "weights").name
        return [Problem(where=where, message=f"cannot be read: {error.strerror}", cure=cure)]
    return []


_CHECKS: dict[str, Callable[[Path], list[Problem]]] = {
    "config.json": _config_problems,
    "a JSON file": _other_json_problems,
    "adapter_config.json": _adapter_problems,
    "the model's class": _class_problems,
    "a pickle file": _pickle_problems,
    "the weights": _weight_problems,
    "tokenizer.json": _tokenizer_problems,
}
"""By what each looks at."""
