"""What a vote says, checked where it comes in."""

from typing import Any, Required, TypedDict

from ftportal.reviews.models import DefectCategory, Preference, Vote
from ftportal.reviews.services.allowed import ReviewRefusedError


class Judgement(TypedDict, total=False):
    """One reviewer's words about two answers, sides as that reviewer saw them."""

    preference: Required[str]
    left_defective: bool
    left_category: str
    left_reason: str
    right_defective: bool
    right_category: str
    right_reason: str
    note: str
    corrected_answer: str


def fields_of(judgement: Judgement) -> dict[str, Any]:
    """The fields of a vote that hold a judgement. Raises ReviewRefusedError where it lacks one."""
    if judgement["preference"] not in Preference.values:
        raise ReviewRefusedError(
            "No preference was chosen.", "Choose left, right, tie or both bad."
        )
    left = _defect(
        "left",
        defective=judgement.get("left_defective", False),
        reason=judgement.get("left_reason", ""),
        category=judgement.get("left_category", ""),
    )
    right = _defect(
        "right",
        defective=judgement.get("right_defective", False),
        reason=judgement.get("right_reason", ""),
        category=judgement.get("right_category", ""),
    )
    return {
        "preference": judgement["preference"],
        "note": judgement.get("note", "").strip(),
        "corrected_answer": judgement.get("corrected_answer", "").strip(),
        **left,
        **right,
    }


def said(vote: Vote) -> dict[str, Any]:
    """What a vote says, as `fields_of` has it."""
    return {name: getattr(vote, name) for name in Judgement.__annotations__}


def _defect(side: str, *, defective: bool, reason: str, category: str) -> dict[str, Any]:
    if defective and not reason.strip():
        raise ReviewRefusedError(
            f"The {side} answer is marked as defective without a reason.",
            "Say in a few words what is wrong with it.",
        )
    if category and category not in DefectCategory.values:
        raise ReviewRefusedError(f"There is no kind of defect {category}.", "Choose one.")
    return {
        f"{side}_defective": defective,
        f"{side}_reason": reason.strip() if defective else "",
        f"{side}_category": (category or DefectCategory.OTHER.value) if defective else "",
    }
