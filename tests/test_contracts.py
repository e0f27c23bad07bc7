"""The import contracts of pyproject.toml: few exceptions, whole packages, and no circle at all."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

import grimp
import pytest

from tests.ftportal.jobs.processes import BASE

MOST_EXCEPTIONS = 12
PACKAGES = ("engine", "corpus", "training", "evaluation", "ftportal")


@pytest.fixture(scope="module")
def contracts() -> list[dict[str, Any]]:
    """As import-linter reads them."""
    settings = tomllib.loads((BASE / "pyproject.toml").read_text())
    contracts: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return contracts


def _listed(contract: Mapping[str, Any]) -> list[str]:
    """The modules that a contract is about, without its exceptions."""
    layers = [one for layer in contract.get("layers", []) for one in re.split(" [|:] ", layer)]
    return [*layers, *contract.get("source_modules", []), *contract.get("forbidden_modules", [])]


def test_there_are_few_exceptions(contracts: list[dict[str, Any]]) -> None:
    exceptions = [one for contract in contracts for one in contract.get("ignore_imports", [])]
    assert len(exceptions) <= MOST_EXCEPTIONS, exceptions


def test_contracts_name_whole_packages(contracts: list[dict[str, Any]]) -> None:
    """A contract that names a file says nothing about the file beside it."""
    ours = [name for contract in contracts for name in _listed(contract)]

    ours = [name.removesuffix(".*") for name in ours if name.startswith(PACKAGES)]
    assert len(ours) > len(PACKAGES)
    for name in ours:
        assert (BASE / name.replace(".", "/") / "__init__.py").is_file(), name


def circles(imports: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or around a corner, each sorted.

    `imports` says for every module which ones it imports. Tarjan's strongly connected components
    (SIAM J. Comput. 1(2), 1972), those with more than one module.
    """
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for imported in imports[module]:
            if imported not in number:
                visit(imported)
                lowest[module] = min(lowest[module], lowest[imported])
            elif imported in stack:
                lowest[module] = min(lowest[module], number[imported])
        if lowest[module] == number[module]:
            at = stack.index(module)
            groups.append(sorted(stack[at:]))
            del stack[at:]

    for module in imports:
        if module not in number:
            visit(module)
    return [group for group in groups if len(group) > 1]


def test_circles_are_seen() -> None:
    imports = {"a": ["b"], "b": ["c", "d"], "c": ["a"], "d": ["e"], "e": [], "f": ["g"], "g": ["f"]}
    assert circles(imports) == [["a", "b", "c"], ["f", "g"]]


def test_no_file_imports_itself_around_a_corner() -> None:
    """Imports for the type checker alone count too: whoever reads must follow them all the same."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False)
    imports = {
        module: sorted(graph.find_modules_directly_imported_by(module))
        for module in sorted(graph.modules)
    }
    assert len(imports) > 200
    assert circles(imports) == []
