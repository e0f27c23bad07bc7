"""Votes as data: every vote of a decided spot-check as a JSON object, and the answers that won."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.crypto import salted_hmac

from ftportal.accounts.models import User
from ftportal.reviews.findings import item_findings
from ftportal.reviews.judged import ItemFinding
from ftportal.reviews.models import Generation, SpotCheck, Vote


def pseudonym(reviewer: User) -> str:
    """A name for a reviewer, the same in every export, that tells nobody who it is."""
    digest = salted_hmac("ftportal.reviews.pseudonym", str(reviewer.pk), algorithm="sha256")
    return f"reviewer-{digest.hexdigest()[:8]}"


def vote_records(spot_check: SpotCheck, *, by_name: bool) -> Iterator[dict[str, Any]]:
    """Every vote with its prompt and both answers, sides resolved, in the order of the prompts."""
    check = {
        "spot_check": spot_check.blind_title,
        "prompt_set": spot_check.prompt_set.name,
        "decision": str(spot_check.state),
        "model": spot_check.candidate.language_model.name,
    }
    for one in item_findings(spot_check):
        asked = {"prompt": one.item.prompt.messages, "group": one.item.prompt.group}
        answers = {
            "candidate": _answer(spot_check.candidate.name, one.candidate),
            "baseline": _answer(spot_check.baseline.name, one.baseline),
        }
        for vote in one.votes:
            reviewer = str(vote.reviewer) if by_name else pseudonym(vote.reviewer)
            yield asked | answers | _vote(vote) | {"reviewer": reviewer} | check


def _answer(checkpoint: str, answer: Generation) -> dict[str, Any]:
    return {
        "checkpoint": checkpoint,
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "settings": answer.generation_set.settings,
    }


def _vote(vote: Vote) -> dict[str, Any]:
    left = {"category": vote.left_category, "reason": vote.left_reason}
    right = {"category": vote.right_category, "reason": vote.right_reason}
    sides = (left, right) if vote.candidate_is_left else (right, left)
    defects = {
        name: side if side["reason"] else None
        for name, side in zip(("candidate_defect", "baseline_defect"), sides, strict=True)
    }
    return {
        "preferred": vote.preferred,
        **defects,
        "note": vote.note,
        "corrected_answer": vote.corrected_answer,
        "candidate_was_left": vote.candidate_is_left,
        "names_were_visible": vote.names_were_visible,
        "voted_at": vote.created_at.isoformat(),
        "changed_at": vote.changed_at.isoformat() if vote.changed_at else None,
    }


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The answers of a spot-check that are good enough to learn from, and why others are not."""

    corrected: Sequence[dict[str, Any]]
    """{"messages"}: prompts with what a reviewer wrote in the answers' place."""
    preferred: Sequence[dict[str, Any]]
    """{"messages"}: prompts with the answer that more reviewers preferred."""
    undecided_count: int
    defective_count: int
    cut_count: int

    @property
    def examples(self) -> Sequence[dict[str, Any]]:
        """All of them."""
        return [*self.corrected, *self.preferred]

    @property
    def left_out(self) -> Sequence[str]:
        """What is left out and why, in words."""
        reasons = (
            (self.undecided_count, "where neither answer won"),
            (self.defective_count, "where the better answer is defective"),
            (self.cut_count, "where the better answer was cut"),
        )
        return [f"{count} {words}" for count, words in reasons if count]


def chosen_answers(spot_check: SpotCheck) -> Chosen:
    """What can be learnt from a spot-check: corrected answers, else the preferred ones.

    Of a prompt that several reviewers corrected, every wording is an example of its own.
    """
    corrected: list[dict[str, Any]] = []
    preferred: list[dict[str, Any]] = []
    counts = dict.fromkeys(("undecided", "defective", "cut"), 0)
    for one in item_findings(spot_check):
        texts = dict.fromkeys(vote.corrected_answer for vote in one.votes if vote.corrected_answer)
        if texts:
            corrected += [_example(one, text) for text in texts]
            continue
        answer, why_not = _preferred(one)
        if why_not:
            counts[why_not] += 1
        else:
            preferred.append(_example(one, answer.text))
    return Chosen(
        corrected=corrected,
        preferred=preferred,
        undecided_count=counts["undecided"],
        defective_count=counts["defective"],
        cut_count=counts["cut"],
    )


def _preferred(one: ItemFinding) -> tuple[Generation, str]:
    """The answer that won, and why it is not to be learnt all the same; "" where it is."""
    is_candidate = one.winner == "candidate"
    answer = one.candidate if is_candidate else one.baseline
    if one.winner not in ("candidate", "baseline"):
        return answer, "undecided"
    if one.candidate_defects if is_candidate else one.baseline_defects:
        return answer, "defective"
    if answer.is_cut:
        return answer, "cut"
    return answer, "" if answer.text.strip() else "undecided"


def _example(one: ItemFinding, answer: str) -> dict[str, Any]:
    return {"messages": [*one.item.prompt.messages, {"role": "assistant", "content": answer}]}
