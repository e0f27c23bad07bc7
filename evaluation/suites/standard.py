"""Standard benchmarks that forms name; any other lm-eval task can be asked for by its name.

Item counts are those of the split that lm-eval 0.4.13 measures. No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StandardTask:
    """One task or group of lm-eval's catalogue as a form shows it."""

    name: str
    """lm-eval's."""
    title: str
    description: str
    item_count: int
    data: str
    """The hub's id of its data set; a copy lies at <folder>/<id>."""
    runs_code: bool = False
    """Whether it runs code that the model wrote: off unless an administrator allows it."""


STANDARD_TASKS = (
    StandardTask(
        name="hellaswag",
        title="HellaSwag",
        description="Finish a description of an everyday scene.",
        item_count=10_042,
        data="Rowan/hellaswag",
    ),
    StandardTask(
        name="arc_easy",
        title="ARC, easy",
        description="School science questions.",
        item_count=2_376,
        data="allenai/ai2_arc",
    ),
    StandardTask(
        name="arc_challenge",
        title="ARC, challenge",
        description="School science questions that simple methods get wrong.",
        item_count=1_172,
        data="allenai/ai2_arc",
    ),
    StandardTask(
        name="piqa",
        title="PIQA",
        description="Which of two ways of doing something works.",
        item_count=1_838,
        data="baber/piqa",
    ),
    StandardTask(
        name="gsm8k",
        title="GSM8K",
        description="Word problems for school children, answered freely.",
        item_count=1_319,
        data="openai/gsm8k",
    ),
    StandardTask(
        name="mmlu",
        title="MMLU",
        description="Questions of 57 subjects, from school to profession.",
        item_count=14_042,
        data="cais/mmlu",
    ),
    StandardTask(
        name="ifeval",
        title="IFEval",
        description="Follow instructions that can be checked, such as a number of words.",
        item_count=541,
        data="google/IFEval",
    ),
    StandardTask(
        name="humaneval",
        title="HumanEval",
        description="Write Python functions; they are run against tests.",
        item_count=164,
        data="openai/openai_humaneval",
        runs_code=True,
    ),
)
