"""One prompt with both answers, and what its reviewers said of them.

An answer is defective where at least half of its reviewers marked it so: one of one, one of two,
two of three, which is the third reviewer's word where two disagreed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ftportal.accounts.models import User
from ftportal.reviews.models import Generation, Preference, ReviewItem, Vote


@dataclass(frozen=True, kw_only=True)
class Defect:
    """One reviewer's reason to call one answer defective."""

    reviewer: User
    reason: str
    category: str = ""
    """What kind of defect it is, in words; empty where nobody said."""


@dataclass(frozen=True, kw_only=True)
class ItemFinding:
    """One prompt with both answers and what was said about them."""

    item: ReviewItem
    candidate: Generation
    baseline: Generation
    votes: Sequence[Vote]

    @property
    def candidate_defects(self) -> list[Defect]:
        """Reasons against the candidate's answer."""
        return [
            Defect(
                reviewer=vote.reviewer,
                reason=vote.candidate_defect,
                category=vote.candidate_category,
            )
            for vote in self.votes
            if vote.candidate_defect
        ]

    @property
    def baseline_defects(self) -> list[Defect]:
        """Reasons against the baseline's answer."""
        return [
            Defect(
                reviewer=vote.reviewer,
                reason=vote.baseline_defect,
                category=vote.baseline_category,
            )
            for vote in self.votes
            if vote.baseline_defect
        ]

    @property
    def candidate_is_defective(self) -> bool:
        """Whether at least half of the reviewers say so of the candidate's answer."""
        return self._half_say(self.candidate_defects)

    @property
    def baseline_is_defective(self) -> bool:
        """Whether at least half of the reviewers say so of the baseline's answer."""
        return self._half_say(self.baseline_defects)

    def _half_say(self, defects: Sequence[Defect]) -> bool:
        return bool(defects) and 2 * len(defects) >= len(self.votes)

    @property
    def winner(self) -> str:
        """Which answer more reviewers prefer: candidate, baseline; both_bad or tie for neither."""
        preferred = [vote.preferred for vote in self.votes]
        lead = preferred.count("candidate") - preferred.count("baseline")
        if lead:
            return "candidate" if lead > 0 else "baseline"
        bad, even = preferred.count(Preference.BOTH_BAD), preferred.count(Preference.TIE)
        return "both_bad" if bad > even else "tie"
