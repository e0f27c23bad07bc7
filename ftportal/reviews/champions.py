"""How the champions of their time answered the same prompts, from the checks that asked them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ftportal.checkpoints.models import Checkpoint
from ftportal.reviews.models import Generation, SpotCheck
from ftportal.reviews.selectors import may_be_shown, progress_by_pk


@dataclass(frozen=True, kw_only=True)
class ChampionAnswer:
    """What one champion answered, and when it was asked."""

    checkpoint: Checkpoint
    answer: Generation
    asked_at: datetime


def champions_answers(spot_check: SpotCheck) -> dict[str, Sequence[ChampionAnswer]]:
    """Hash of each prompt of the check -> what every champion answered last, the oldest first.

    A champion is who was the baseline of a check at its time. Prompts are known by their hash, so
    another prompt set that asks the same counts. Checks whose names are hidden are left out, and
    the answers of this check stand beside each other already. Not for who is blind to the model.
    """
    hashes = list(spot_check.items.values_list("prompt__sha256", flat=True))
    model = spot_check.candidate.language_model_id
    others = SpotCheck.objects.filter(baseline__language_model=model).exclude(pk=spot_check.pk)
    checks = list(others.select_related("candidate", "baseline").order_by("created_at", "pk"))
    progress = progress_by_pk(checks)
    shown = [one for one in checks if may_be_shown(one, progress[one.pk])]
    champions = {one.baseline_id for one in [*shown, spot_check]}
    set_of = _sets(shown, champions)
    answers = Generation.objects.filter(
        generation_set__in=set_of, prompt__sha256__in=hashes
    ).select_related("prompt")
    last: dict[str, dict[int, ChampionAnswer]] = defaultdict(dict)
    for answer in sorted(answers, key=lambda one: set_of[one.generation_set_id].created_at):
        check = set_of[answer.generation_set_id]
        is_candidates = answer.generation_set_id == check.candidate_answers_id
        checkpoint = check.candidate if is_candidates else check.baseline
        last[answer.prompt.sha256][checkpoint.pk] = ChampionAnswer(
            checkpoint=checkpoint, answer=answer, asked_at=check.created_at
        )
    return {
        sha256: sorted(by_champion.values(), key=lambda one: (one.checkpoint.depth, one.asked_at))
        for sha256, by_champion in last.items()
    }


def _sets(checks: Sequence[SpotCheck], champions: set[int]) -> dict[int, SpotCheck]:
    """Generation set -> the check that it answered for, of those that were or became champion."""
    set_of = {}
    for one in checks:
        set_of[one.baseline_answers_id] = one
        if one.candidate_id in champions:
            set_of[one.candidate_answers_id] = one
    return set_of
