"""Items without an answer, and answers without numbers, are refused by name."""

from pathlib import Path
from typing import Any

import pytest

from engine.attempt import EngineError
from evaluation.answers import answers_check
from evaluation.config import BenchmarkConfig
from evaluation.prepared import BenchmarkTasks
from tests.evaluation.test_standard_tasks import measured

CHOICES = {
    "output_type": "multiple_choice",
    "doc_to_choice": "choices",
    "doc_to_target": "target",
    "metric_list": [{"metric": "acc"}],
}
WORDS: dict[str, Any] = {
    "output_type": "generate_until",
    "metric_list": [{"metric": "exact_match"}],
}


def prepared(task: Any, indices: dict[str, list[int]] | None = None) -> BenchmarkTasks:
    benchmark = BenchmarkConfig(name="bench", source="lm_eval")
    return BenchmarkTasks(
        config=benchmark, tasks={"asked": task}, indices=indices or {}, item_count=2
    )


def choice(**fields: Any) -> dict[str, Any]:
    return {"question": "Which?", "choices": [" a", " b"], "target": 1} | fields


@pytest.mark.parametrize(
    ("doc", "why"),
    [
        (choice(target=None), "its 2 choices do not hold it"),
        (choice(target=2), "its 2 choices do not hold it"),
        (choice(choices=None), "it has no choices"),
        (choice(choices=[]), "its 0 choices do not hold it"),
        (choice(choices=[" a", ""]), "one of its choices is empty"),
    ],
)
def test_choices_without_a_right_one(task_make: Any, doc: dict[str, Any], why: str) -> None:
    docs = [choice(question="First?"), doc | {"question": "And\n second?"}]
    task = task_make("asked", docs, target_delimiter="", **CHOICES)
    with pytest.raises(EngineError, match=f"ending in “And second\\?” .*: {why}") as refusal:
        answers_check(prepared(task))
    assert refusal.value.where == "benchmark bench"
    answers_check(prepared(task, {"asked": [0]}))  # only what is measured has to have answers


@pytest.mark.parametrize("template", ["target", "{{target}}"])
@pytest.mark.parametrize("target", [None, "", " \n"])
def test_free_answers_that_are_missing(task_make: Any, template: str, target: str | None) -> None:
    docs = [{"question": "1 + 1 =", "target": "2"}, {"question": "2 + 2 =", "target": target}]
    task = task_make("asked", docs, **WORDS | {"doc_to_target": template})
    with pytest.raises(EngineError, match="ending in “2 \\+ 2 =” has no right answer: it is empty"):
        answers_check(prepared(task))


def test_the_word_none_is_an_answer_and_other_metrics_need_none(task_make: Any) -> None:
    word = [{"question": "What does print() return?", "target": "None"}]
    answers_check(prepared(task_make("word", word, **WORDS)))
    weighed = [{"question": "Go on.", "target": ""}]
    fields = WORDS | {"metric_list": [{"metric": "bleu"}]}
    answers_check(prepared(task_make("weighed", weighed, **fields)))


def test_a_model_that_writes_with_nan_is_refused(
    task_make: Any,
    tiny_model_directory: Path,
    tmp_path: Path,
) -> None:
    from evaluation.config import MeasureConfig
    from evaluation.loading import model_load
    from tests.tiny_model import tiny_model_write

    broken = tiny_model_write(tmp_path / "broken")
    benchmark = BenchmarkConfig(name="bench", source="lm_eval")
    loaded = model_load(MeasureConfig(model=str(broken), benchmarks=(benchmark,), device="cpu"))
    loaded.model.model.norm.weight.data[:] = float("nan")
    fields = WORDS | {"metric_list": [{"metric": "bleu"}]}
    fields |= {"generation_kwargs": {"until": ["\n"], "max_gen_toks": 2}}
    task = task_make("written", [{"question": "Go on.", "target": "On."}], **fields)
    with pytest.raises(EngineError, match="not numbers") as refusal:
        measured({"written": task}, {}, broken, loaded)
    assert refusal.value.where == "model"
