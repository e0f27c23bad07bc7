"""Looks whether every item of a benchmark has an answer, before anything is measured.

lm-eval notices a missing one late or not at all: it warns and counts the item as wrong, takes the
word "None" for the answer, or ends with an error that names no item.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.attempt import EngineError
from engine.process import BAD_INPUT
from evaluation.prepared import BenchmarkTasks

METRICS = ("acc_norm", "acc", "exact_match", "pass@1", "pass_at_1", "prompt_level_strict_acc", "em")
"""Yes/no metrics of an item, the one that counts first: length-normalised where a task has it."""

ENDING_CHARACTERS = 80


def answers_check(benchmark: BenchmarkTasks) -> None:
    """Raise EngineError (BAD_INPUT) naming the first item that has no right answer."""
    for name, task in benchmark.tasks.items():
        if not task.aggregation().keys() & set(METRICS):
            continue  # nothing in it is right or wrong
        for doc in _documents(task, benchmark.indices.get(name)):
            problem = _problem(task, doc)
            if problem is not None:
                raise no_answer(benchmark.config.name, _question(task, doc), problem)


def no_answer(benchmark: str, question: str, why: str) -> EngineError:
    """The refusal of an item; it is told by the end of its question."""
    ending = " ".join(question.split())[-ENDING_CHARACTERS:]
    message = f"the item ending in “{ending}” has no right answer: {why}"
    cure = "Use a split of the data that has answers, or another benchmark."
    return EngineError(BAD_INPUT, f"benchmark {benchmark}", message, cure)


def right_places(texts: list[str], target: Any) -> set[int] | None:
    """The places of an item's right choices; None where `target` names none of them, or others."""
    right = {
        texts.index(one) if isinstance(one, str) and one in texts else one
        for one in (target if isinstance(target, list) else [target])
    }
    # lm-eval only warns of a place that names no choice, and counts the item as wrong.
    sound = all(isinstance(one, int) and 0 <= one < len(texts) for one in right)
    return right if right and sound else None


def is_missing(target: Any) -> bool:
    """Whether a free answer is none."""
    return target is None or target == [] or (isinstance(target, str) and not target.strip())


def _documents(task: Any, places: list[int] | None) -> Iterable[dict[str, Any]]:
    documents = task.eval_docs
    return documents if places is None else (documents[place] for place in places)


def _problem(task: Any, doc: dict[str, Any]) -> str | None:
    """Why an item cannot be right or wrong; None where it can, or where contexts are compared."""
    if getattr(task, "multiple_input", 0):
        return None
    try:
        target = task.doc_to_target(doc)
    except Exception as error:  # whatever a task's template or function raises
        return f"it cannot be read, {type(error).__name__}: {error}"
    if task.OUTPUT_TYPE != "multiple_choice":
        # A template writes a missing field as the word None.
        empty = is_missing(target) or (target == "None" and None in doc.values())
        return "it is empty" if empty else None
    try:
        texts = list(task.doc_to_choice(doc))
    except Exception:  # as above
        return "it has no choices"
    if not task.config.target_delimiter and "" in texts:
        return "one of its choices is empty"
    if right_places(texts, target) is None:
        return f"its {len(texts)} choices do not hold it"
    return None


def _question(task: Any, doc: dict[str, Any]) -> str:
    try:
        text = task.doc_to_text(doc)
    except Exception:  # an item that lacks its answer may lack its question too
        text = None
    return text if isinstance(text, str) else str(doc)
