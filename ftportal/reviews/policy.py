"""The review policy in force: what an administrator set, or what the size of the team asks for."""

from dataclasses import dataclass, replace

from ftportal.accounts.models import User
from ftportal.reviews.models import ReviewPolicy

STRICT_REVIEWERS = 4
"""The strict policy needs so many: two for each prompt, a third where they disagree, and one more,
for the run's submitter never counts."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What holds for reviews and promotions, and why."""

    reviewers_an_item: int
    """The fewest that judge each prompt."""
    voters_may_decide: bool
    trainers_may_promote: bool
    """Whether a releaser may promote what they trained themselves."""
    names_reviewers: bool
    """Whether exports of votes name who voted."""
    defect_rate_percent: float
    """A check that draws from a pool has to show, with 95 % confidence, that no more are
    defective."""
    name: str = ""
    why: str = ""
    version: int = 0
    """0: nobody has set one."""

    @property
    def defect_rate(self) -> float:
        """The rate that plans must show, as a share."""
        return self.defect_rate_percent / 100

    @property
    def sentences(self) -> list[str]:
        """What holds, in plain words, one sentence a rule."""
        people = self.reviewers_an_item
        return [
            "One reviewer judges each prompt."
            if people == 1
            else f"At least {people} reviewers judge each prompt"
            + ("; where two disagree, a third one does." if people == 2 else "."),
            "Who has judged a check may also decide on it."
            if self.voters_may_decide
            else "Who has judged a check does not decide on it.",
            "A releaser may promote what they trained themselves."
            if self.trainers_may_promote
            else "A releaser does not promote what they trained themselves.",
            "Exports of votes name the reviewers."
            if self.names_reviewers
            else "Exports of votes number the reviewers and do not name them.",
            f"A check on drawn prompts has to show that at most {self.defect_rate_percent:g} % of "
            "the answers are defective.",
        ]


LENIENT = Policy(
    name="lenient",
    reviewers_an_item=1,
    voters_may_decide=True,
    trainers_may_promote=True,
    names_reviewers=True,
    defect_rate_percent=10,
)
STRICT = Policy(
    name="strict",
    reviewers_an_item=2,
    voters_may_decide=False,
    trainers_may_promote=False,
    names_reviewers=False,
    defect_rate_percent=5,
)


def policy_in_force() -> Policy:
    """The newest version that an administrator made; by the team's size where there is none."""
    stored = ReviewPolicy.objects.select_related("made_by").first()
    return policy_of(stored) if stored is not None else default_policy()


def policy_of(stored: ReviewPolicy) -> Policy:
    """A stored version as it is applied."""
    return Policy(
        reviewers_an_item=stored.reviewers_an_item,
        voters_may_decide=stored.voters_may_decide,
        trainers_may_promote=stored.trainers_may_promote,
        names_reviewers=stored.names_reviewers,
        defect_rate_percent=stored.defect_rate_percent,
        name=f"version {stored.version}",
        why=f"{stored.made_by} put it in force.",
        version=stored.version,
    )


def default_policy() -> Policy:
    """Lenient for a small team, strict for one that can afford it."""
    reviewers = User.objects.filter(is_active=True, is_reviewer=True).count()
    there = {0: "no reviewer", 1: "one reviewer"}.get(reviewers, f"{reviewers} reviewers")
    is_small = reviewers < STRICT_REVIEWERS
    chosen = LENIENT if is_small else STRICT
    why = (
        f"No administrator has set a policy. The strict one takes {STRICT_REVIEWERS} reviewers: "
        "two for each prompt, a third where they disagree, and one more, because nobody judges "
        f"their own run. There {'are' if reviewers > 1 else 'is'} {there}, so the {chosen.name} "
        "one holds."
    )
    return replace(chosen, why=why)
