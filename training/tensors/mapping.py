"""Which tensors of a model's files hold which of its parameters.

transformers renames tensors as it loads them, joins some (the experts of a layer become one) and
leaves others out, such as the vision of a model that is taught by text. The same rules, read
backwards here, say where a parameter belongs in a file like the parent's.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    apply_renamings,
    dot_natural_key,
    rename_source_key,
)

from engine.checks import ConfigError
from engine.tensorfiles import tensor_shapes

_CURE = "Save the model again with save_pretrained of the installed transformers, and use that."


@dataclass(frozen=True, kw_only=True)
class Group:
    """Parameters and the tensors that hold them, which belong together."""

    parameters: tuple[str, ...]
    """As the model names them; more than one where a tensor holds several."""
    files: tuple[str, ...]
    """As the files name them; more than one where a parameter is kept in parts, or twice."""
    way_back: WeightConverter | None
    """Makes the parts out of the parameters; None where every tensor is the parameter itself."""
    parts: Mapping[str, str]
    """{what `way_back` calls a part: what the files call it}."""
    way_in: WeightConverter | None = None
    """Makes the parameters out of the parts; None where `way_back` is."""
    patterns: Mapping[str, str] = field(default_factory=dict)
    """{a tensor of the files: the pattern by which `way_in` knows it}."""


class TensorMap:
    """The groups of a model that is taught, and what else its files hold."""

    def __init__(
        self,
        groups: Sequence[Group],
        shapes: Mapping[str, tuple[int, ...]],
        model: Any,
        untaught: Sequence[Group] = (),
    ) -> None:
        """shapes: of all tensors of the files."""
        self.groups = tuple(groups)
        self.untaught = tuple(untaught)
        """What else the model has of its files: buffers, and parameters that get no gradient."""
        self._config = model.config
        self._sizes = _Sizes(model)
        self.carried = sorted(shapes.keys() - {name for one in groups for name in one.files})
        """Tensors that training never touches, and a checkpoint keeps as they are."""

    @classmethod
    def of(cls, model: Any, directory: Path | str) -> Self:
        """Map a model that was just loaded from a directory.

        What is taught are the parameters that get gradient. Raises ConfigError, naming the tensor,
        for a parameter that could not be written back in the files' own form.
        """
        shapes = tensor_shapes(directory)
        reading = _Reading(model)
        for name in sorted(shapes, key=dot_natural_key):
            reading.add(name)
        taught = {name for name, one in model.named_parameters() if one.requires_grad}
        everything = reading.groups()
        groups = [one for one in everything if taught & set(one.parameters)]
        missing = taught - {name for one in groups for name in one.parameters}
        if missing:
            message = f"no tensor of its files holds {sorted(missing)[0]}"
            raise ConfigError("model", message, _CURE)
        untaught = [one for one in everything if not taught & set(one.parameters)]
        tensors = cls(groups, shapes, model, untaught)
        tensors._check(model, shapes)
        return tensors

    def stored(self, group: Group, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return a group's tensors by their names in the files; weights: its parameters by name."""
        if group.way_back is None:
            (weight,) = weights.values()
            return dict.fromkeys(group.files, weight)
        way_back = deepcopy(group.way_back)
        first = ""
        for name in group.parameters:
            renamed, pattern = way_back.rename_source_key(name)
            first = first or renamed
            way_back.add_tensor(renamed, name, str(pattern), weights[name])  # type: ignore[arg-type]
        made = way_back.convert(first, model=self._sizes, config=self._config)
        tensors = {name: one[0] if isinstance(one, list) else one for name, one in made.items()}
        return {group.parts[name]: tensor for name, tensor in tensors.items()}

    def loaded(self, group: Group, parts: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return a group's parameters by name, as transformers makes them when it loads; parts: its
        tensors by their names in the files."""
        if group.way_in is None:
            (part,) = (parts[name] for name in group.files[:1])
            return dict.fromkeys(group.parameters, part)
        way_in = deepcopy(group.way_in)
        target = group.parameters[0]
        for name in group.files:
            way_in.add_tensor(target, name, group.patterns[name], parts[name])  # type: ignore[arg-type]
        made = way_in.convert(target, model=self._sizes, config=self._config)
        return {name: one[0] if isinstance(one, list) else one for name, one in made.items()}

    def _check(self, model: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse a group whose tensors would not be those of the files; no number is touched."""
        parameters = dict(model.named_parameters())
        for group in self.groups:
            empty = {name: parameters[name].to("meta") for name in group.parameters}
            try:
                made = {name: tuple(one.shape) for name, one in self.stored(group, empty).items()}
            except (KeyError, ValueError, RuntimeError, AttributeError, TypeError) as error:
                message = f"{group.files[0]} cannot be written back as it was stored ({error})"
                raise ConfigError("model", message, _CURE) from error
            for name in group.files:
                if made.get(name) != shapes[name]:
                    message = f"{name} cannot be written back as it was stored"
                    raise ConfigError("model", message, _CURE)


class _Sizes:
    """What conversions ask of a model: the sizes of its parameters, not the weights."""

    def __init__(self, model: Any) -> None:
        self._parameters = {name: one.to("meta") for name, one in model.named_parameters()}

    def get_parameter(self, name: str) -> torch.Tensor:
        """Return an empty tensor of a parameter's shape."""
        return self._parameters[name]


class _Reading:
    """Follows what transformers does with the names of tensors when it loads a model."""

    def __init__(self, model: Any) -> None:
        conversions = get_model_conversion_mapping(model)
        self._renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
        self._converters = [one for one in conversions if isinstance(one, WeightConverter)]
        self._by_pattern = {
            pattern: one for one in self._converters for pattern in one.source_patterns
        }
        self._prefix: str = model.base_model_prefix
        self._state = model.state_dict(keep_vars=True)
        self._names = {id(one): name for name, one in model.named_parameters()}
        """Of parameters that go by several names, the first."""
        self._plain: dict[str, list[str]] = {}
        self._converted: dict[str, tuple[WeightConverter, dict[str, str]]] = {}

    def add(self, name: str) -> None:
        """Follow one tensor of the files."""
        target, pattern = self._renamed(name, self._renamings, self._converters)
        if target not in self._state and name in self._state:
            target, pattern = self._renamed(name, [], [])
        if target not in self._state:
            return
        if pattern is None:
            self._plain.setdefault(self._parameter(target), []).append(name)
        else:
            _, patterns = self._converted.setdefault(target, (self._by_pattern[pattern], {}))
            patterns[name] = pattern

    def _renamed(self, name: str, renamings: list, converters: list) -> tuple[str, str | None]:
        return rename_source_key(name, renamings, converters, self._prefix, self._state)

    def _parameter(self, name: str) -> str:
        return self._names.get(id(self._state[name]), name)

    def groups(self) -> list[Group]:
        """Return what was followed; buffers too, by their names."""
        plain = [
            Group(parameters=(target,), files=tuple(files), way_back=None, parts={})
            for target, files in self._plain.items()
        ]
        return plain + [
            self._group(target, converter, patterns)
            for target, (converter, patterns) in self._converted.items()
        ]

    def _group(self, target: str, converter: WeightConverter, patterns: dict[str, str]) -> Group:
        first, *others = converter.target_patterns
        names = [target, *(target.replace(first, other) for other in others)]
        # Before they are converted, tensors go by the files' names after renaming.
        parts = {
            self._prefixed(apply_renamings(one, self._renamings), target): one for one in patterns
        }
        return Group(
            parameters=tuple(names),
            files=tuple(patterns),
            way_back=converter.reverse_transform(),  # type: ignore[arg-type]
            parts=parts,
            way_in=converter,
            patterns=patterns,
        )

    def _prefixed(self, name: str, target: str) -> str:
        """Add or take the base model's prefix, as its parameter has it."""
        prefix = f"{self._prefix}."
        if target.startswith(prefix) == name.startswith(prefix):
            return name
        return prefix + name if target.startswith(prefix) else name.removeprefix(prefix)
