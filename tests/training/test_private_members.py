"""The engine builds on what its libraries promise: it uses and overrides no private member."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import training

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(training.__path__, "training.")
    if not module.name.endswith("__main__")
)
OURS = ("training", "engine", "corpus")
DOCUMENTED = ("os._exit", "torch._foreach_")
"""Public in spite of their underscore: Python's and torch's own documentation lists them."""


def private_uses(source: str) -> Iterator[str]:
    """Attributes such as x._name, but those of self, cls and of the module's own classes."""
    tree = ast.parse(source)
    own = {
        node.attr if isinstance(node, ast.Attribute) else getattr(node, "name", "")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        or (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and getattr(node.value, "id", "") in ("self", "cls")
        )
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not is_private(node.attr) or node.attr in own:
            continue
        text = ast.unparse(node)
        if getattr(node.value, "id", "") not in ("self", "cls") and not text.startswith(DOCUMENTED):
            yield f"line {node.lineno}: {text}"


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("name", MODULES)
def test_no_private_member_of_a_library_is_used(name: str) -> None:
    path = Path(inspect.getfile(importlib.import_module(name)))
    assert list(private_uses(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("name", MODULES)
def test_no_private_member_of_a_library_is_overridden(name: str) -> None:
    module = importlib.import_module(name)
    overridden = [
        f"{one.__name__}.{member} is {base.__module__}.{base.__name__}'s"
        for _, one in inspect.getmembers(module, inspect.isclass)
        if one.__module__ == name
        for member in vars(one)
        if is_private(member)
        for base in one.__mro__[1:]
        if base.__module__.split(".")[0] not in OURS
        and member in vars(base)
        # Every dataclass, protocol and abstract class of Python's own has these.
        and base is not object
        and not member.startswith(("_abc_", "_is_"))
    ]
    assert overridden == []


def test_the_search_finds_what_it_looks_for() -> None:
    source = "trainer._save(1)\nself._own = 1\nother._own\nx.y._z"
    assert sorted(private_uses(source)) == ["line 1: trainer._save", "line 4: x.y._z"]
