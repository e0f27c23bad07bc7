"""The local benchmarks themselves: keys, balance, subsets."""

import json
import re
import subprocess
import sys
from itertools import pairwise

import pytest

from evaluation.suites import LOCAL_DIRECTORY, arithmetic, local_benchmarks, local_items

NAMES = [one.name for one in local_benchmarks()]


def test_five_benchmarks_of_at_least_64_items() -> None:
    assert NAMES == [
        "local_code",
        "local_reasoning",
        "local_language",
        "local_arithmetic",
        "local_filesystem",
    ]
    assert all(one.item_count >= 64 for one in local_benchmarks())
    assert sum(one.item_count for one in local_benchmarks()) >= 320
    assert len({one.content_hash for one in local_benchmarks()}) == 5


@pytest.mark.parametrize("name", NAMES)
def test_items_are_sound(name: str) -> None:
    items = local_items(name)
    assert len({item["question"] for item in items}) == len(items)
    for item in items:
        assert len(set(item["choices"])) == 4 and 0 <= item["answer"] < 4
        # A question that ends in a space would split its last token from the choice.
        assert not item["question"].endswith((" ", "\t"))
        assert all(choice.strip() for choice in item["choices"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("limit", [12, 40])
def test_a_subset_is_a_stratified_beginning_of_the_whole(name: str, limit: int) -> None:
    whole, part = local_items(name), local_items(name, limit)
    assert part == whole[:limit] == local_items(name, limit)
    for group in {item["group"] for item in whole}:
        expected = limit * sum(item["group"] == group for item in whole) / len(whole)
        assert abs(sum(item["group"] == group for item in part) - expected) <= 1.5
    places = [item["answer"] for item in part]
    assert max(map(places.count, range(4))) - min(map(places.count, range(4))) <= 1


def test_unknown_benchmarks_are_named() -> None:
    with pytest.raises(KeyError, match="local_cooking"):
        local_items("local_cooking")


def test_the_committed_arithmetic_is_what_the_script_writes() -> None:
    written = [json.loads(line) for line in arithmetic.TARGET.open()]
    assert written == list(arithmetic.items())


def right_number(question: str) -> int:
    """Work an arithmetic question out again from its words."""
    numbers = [int(number) for number in re.findall(r"\d+", question)]
    last = question.splitlines()[-1]
    if "plus" in question or "gets" in question:
        return numbers[0] + numbers[1]
    if "gives away" in question:
        return numbers[0] - numbers[1]
    if last.endswith("="):
        a, sign, b = last.removesuffix("=").split()
        return {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign]
    steps = {b - a for a, b in pairwise(numbers)}
    assert len(steps) == 1
    return numbers[-1] + steps.pop()


def test_arithmetic_keys_are_right() -> None:
    for item in local_items("local_arithmetic"):
        assert int(item["choices"][item["answer"]]) == right_number(item["question"]), item


def test_python_results_are_what_python_says() -> None:
    checked = 0
    for item in local_items("local_code"):
        if item["group"] == "results":
            expression = item["question"].removeprefix(">>> ").strip()
            assert repr(eval(expression)) == item["choices"][item["answer"]]  # noqa: S307
            checked += 1
    assert checked == 18


def test_python_functions_do_what_their_docstrings_say() -> None:
    cases = {
        "is_even": ((4,), True), "largest": (([1, 3],), 3), "average": (([2, 4],), 3),
        "perimeter": ((2, 3), 10), "reverse": (("ab",), "ba"), "has_key": (({1: 2}, 1), True),
        "is_empty": (([],), True), "last_item": (([1, 2],), 2), "difference": ((5, 3), 2),
    }  # fmt: skip
    for item in local_items("local_code"):
        if item["group"] != "functions":
            continue
        space: dict[str, object] = {}
        exec(item["question"] + item["choices"][item["answer"]], space)  # noqa: S102
        (name,) = [key for key in space if key != "__builtins__"]
        if name in cases:
            arguments, result = cases.pop(name)
            assert space[name](*arguments) == result  # type: ignore[operator]
    assert cases == {}


def test_the_files_hold_nothing_but_items() -> None:
    assert sorted(path.stem for path in LOCAL_DIRECTORY.iterdir()) == sorted(NAMES)


def test_what_the_portal_imports_loads_no_torch() -> None:
    judging = ("agreement", "comparison", "pairing", "rule", "statistics", "verdict")
    modules = [f"judging.{name}" for name in judging]
    modules += ["config", "engine", "suites", "suites.heldout", "suites.items", "suites.standard"]
    imports = "; ".join(f"import evaluation.{name}" for name in modules)
    check = "import sys; print({'torch', 'transformers', 'lm_eval', 'django'} & set(sys.modules))"
    command = [sys.executable, "-c", f"{imports}; {check}"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
