"""How many votes an item needs: the plan's, and one more where two reviewers disagree."""

from ftportal.reviews.models import ReviewItem, Vote

PAIR = 2
"""Two who disagree have no majority, so a third judges, blind to both; of more, most decide."""


def disagree(first: Vote, second: Vote) -> bool:
    """Whether two votes on one item differ in which answer is better or in what is defective."""
    return _said(first) != _said(second)


def _said(vote: Vote) -> tuple[str, bool, bool]:
    return vote.preferred, bool(vote.candidate_defect), bool(vote.baseline_defect)


def item_settle(item: ReviewItem) -> None:
    """Work out anew how many votes an item needs, after one was given or taken back."""
    planned = item.spot_check.votes_an_item
    votes = list(item.votes.all())
    is_split = planned == PAIR and any(disagree(votes[0], vote) for vote in votes[1:])
    ReviewItem.objects.filter(pk=item.pk).update(votes_needed=planned + is_split)
