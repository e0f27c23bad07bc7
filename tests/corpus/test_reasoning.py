"""What a model wrote is parted into reasoning and answer, by the marks of every family."""

import time

import pytest

from corpus.reasoning import MARKS, answer_split

HARMONY = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Yes."


@pytest.mark.parametrize("marks", MARKS, ids=[marks[0] for marks in MARKS])
def test_every_family_is_known(marks: tuple[str, str]) -> None:
    opened, closed = marks
    assert answer_split(f"{opened}\nhm, hm\n{closed}\n\nYes.") == ("hm, hm", "Yes.")


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("Yes.", "", "Yes."),
        ("", "", ""),
        ("    indented = code", "", "    indented = code"),
        ("<think>cut in the middle", "cut in the middle", ""),
        ("opened by the template\n</think>\n\nYes.", "opened by the template", "Yes."),
        ("</think>Yes.", "", "Yes."),
        ("<think>\n\n</think>\n\nYes.", "", "Yes."),
        ("<think>a</think><think>b</think>Yes.", "a\n\nb", "Yes."),
        ("The tag </think> closes it.", "", "The tag </think> closes it."),
        ("```\n<think>x</think>\n```", "", "```\n<think>x</think>\n```"),
        (HARMONY, "hm", "Yes."),
        ("<|channel|>final<|message|>Yes.", "", "Yes."),
        (
            "<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>",
            "hm",
            "Yes.",
        ),
    ],
)
def test_reasoning_and_answer_are_told_apart(text: str, reasoning: str, answer: str) -> None:
    assert answer_split(text) == (reasoning, answer)


@pytest.mark.parametrize(
    "piece", ["<think>", "\n</think", "<think></think>", "\n", "<|start|>assistant"]
)
def test_a_megabyte_of_marks_takes_no_time(piece: str) -> None:
    begin = time.process_time()
    answer_split(piece * (1_000_000 // len(piece)))
    assert time.process_time() - begin < 1
