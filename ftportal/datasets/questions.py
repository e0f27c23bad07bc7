"""What a person has to see or say before a batch is ready; nothing is decided in silence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from corpus.notices import NOTICES
from ftportal.datasets.contamination import names_shown
from ftportal.datasets.models import Batch


@dataclass(frozen=True, kw_only=True)
class Question:
    """Something about a batch that waits for a person."""

    key: str
    """columns, preference, contamination, field:<path> or notice:<kind>."""
    title: str
    text: str
    rows: list[list[Any]] = field(default_factory=list)
    """[line, where, detail] of a notice."""

    @property
    def is_yes_or_no(self) -> bool:
        """Whether it is answered by having seen it; the others need a choice."""
        return self.key.startswith(("field:", "notice:"))


def questions_of(batch: Batch) -> list[Question]:
    """The questions that nobody has answered yet, the most important one first."""
    report, options = batch.report, batch.options
    unknown = report.get("unknown_count", 0)
    if 2 * unknown > report.get("problem_count", 0) and not options.get("columns"):
        questions = _columns_question(report)
        if questions:
            return questions
    questions = _preference_question(report) if not options.get("preference") else []
    accepted = set(options.get("accepted", ()))
    contamination = [] if options.get("contaminated_kept") else _contamination_question(report)
    every = [
        *questions,
        *contamination,
        *_fields_questions(report),
        *_notice_questions(report),
    ]
    return [one for one in every if one.key not in accepted]


def _columns_question(report: Mapping[str, Any]) -> list[Question]:
    """Asked where nothing else was recognised; a stray record among others is a problem."""
    if report.get("example_count"):
        return []
    text = "Say which column is what; the same file's shape is remembered."
    return [Question(key="columns", title="This format is not known", text=text)]


def _preference_question(report: Mapping[str, Any]) -> list[Question]:
    count = report.get("preference_count", 0)
    if not count:
        return []
    total = count + report.get("example_count", 0)
    return [
        Question(
            key="preference",
            title=f"{count:,} of {total:,} records are preference data",
            text="They say which answer is better, which training here does not use. The chosen "
            "answers can be learnt like any others; the rejected ones are left out, so the model "
            "learns what to say, not what to avoid.",
        )
    ]


def contaminated_of(batch: Batch) -> dict[str, str]:
    """Examples of a batch that also measure the model: hash -> why they are left out."""
    reason = "it stands in what the model is measured by"
    return dict.fromkeys(batch.report.get("screening", {}).get("contaminated_sha256", ()), reason)


def _contamination_question(report: Mapping[str, Any]) -> list[Question]:
    screening = report.get("screening", {})
    count = screening.get("contaminated_count", 0)
    if not count:
        return []
    found = screening["contaminated"]
    names = names_shown([row["name"] for row in found])
    rows = [
        [row["line"], f"{row['where']}, {name}", row["excerpt"]]
        for row, name in zip(found, names, strict=True)
    ]
    return [
        Question(
            key="contamination",
            title=f"{count:,} example{'s' if count > 1 else ''} of what the model is measured by",
            text="They share a run of words with a benchmark item, a held-out text, a prompt, or "
            "an example that another batch has set aside. "
            "Trained on, they would make the measurement look better than the model is.",
            rows=rows,
        )
    ]


def _fields_questions(report: Mapping[str, Any]) -> list[Question]:
    values = report.get("unused_values", {})
    return [
        Question(
            key=f"field:{path}",
            title=f"{path} is not used",
            text=f"It stands in {count:,} of {report['example_count']:,} examples, such as "
            f"{values.get(path, 'nothing')}. Nothing of it is trained.",
        )
        for path, count in sorted(report.get("unused", {}).items(), key=lambda one: -one[1])
    ]


def _notice_questions(report: Mapping[str, Any]) -> list[Question]:
    return [
        Question(
            key=f"notice:{kind}",
            title=f"{NOTICES[kind].title}: {count:,} example{'s' if count > 1 else ''}",
            text=NOTICES[kind].cure,
            rows=report.get("notice_rows", {}).get(kind, []),
        )
        for kind, count in report.get("notices", {}).items()
        if kind in NOTICES and NOTICES[kind].is_asked
    ]
