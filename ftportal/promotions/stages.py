"""Where checkpoints stand between trained and champion: the queries do not grow with them."""

from collections import defaultdict
from collections.abc import Collection

from ftportal.checkpoints.models import Alias, Checkpoint
from ftportal.checkpoints.selectors import CHAMPION
from ftportal.promotions.models import PromotionEvent
from ftportal.promotions.policy import loss_shown, verdicts_by_pair
from ftportal.reviews.blindness import blindness_of
from ftportal.reviews.models import SpotCheck, SpotCheckState


def anchors_and_champions() -> tuple[dict[int, int], dict[int, int]]:
    """Language model -> its anchor and its champion: the anchor, unless named."""
    anchors = dict(
        Checkpoint.objects.filter(parent__isnull=True).values_list("language_model_id", "pk")
    )
    named = Alias.objects.filter(name=CHAMPION).values_list("language_model_id", "checkpoint_id")
    return anchors, anchors | dict(named)


def stage(checkpoint: Checkpoint, viewer: object = None) -> str:
    """Where a checkpoint stands, in one word or two, as `badge` knows them."""
    return stages([checkpoint.pk], viewer)[checkpoint.pk]


def stage_word(stage: str) -> str:
    """A stage for a column beside the verdict's, which need not say the verdict again."""
    return "barred" if stage == "forgotten" else stage


def stages(checkpoint_ids: Collection[int], viewer: object = None) -> dict[int, str]:
    """Checkpoint -> where it stands, in one word or two, as `badge` knows them.

    For a `viewer` who may still judge a check, that check changes no stage: it would name its
    candidate.
    """
    anchors, champions = anchors_and_champions()
    former = set(
        PromotionEvent.objects.filter(to_checkpoint__in=checkpoint_ids).values_list(
            "to_checkpoint_id", flat=True
        )
    )
    verdicts = verdicts_by_pair(checkpoint_ids)
    reviews: dict[tuple[int, int], set[str]] = defaultdict(set)
    checks = (
        SpotCheck.objects.filter(candidate__in=checkpoint_ids)
        .exclude(state=SpotCheckState.CLOSED)
        .exclude(pk__in=blindness_of(viewer).checks)
        .order_by()
    )
    for candidate, baseline, state in checks.values_list("candidate_id", "baseline_id", "state"):
        reviews[candidate, baseline].add(state)
    by_checkpoint = {}
    for one in Checkpoint.objects.filter(pk__in=checkpoint_ids):
        champion = champions.get(one.language_model_id, 0)
        baselines = (champion, anchors.get(one.language_model_id, 0))
        if one.pk == champion:
            by_checkpoint[one.pk] = "champion"
        elif one.is_pretrained:
            by_checkpoint[one.pk] = "pre-trained"
        elif one.deleted_at is not None:
            by_checkpoint[one.pk] = "deleted"
        elif one.pk in former:
            by_checkpoint[one.pk] = "former champion"
        elif any(loss_shown(verdicts[one.pk, baseline]) for baseline in baselines):
            by_checkpoint[one.pk] = "forgotten"
        else:
            by_checkpoint[one.pk] = _review_stage(reviews[one.pk, champion])
    return by_checkpoint


def _review_stage(states: set[str]) -> str:
    if SpotCheckState.REJECTED in states:
        return "rejected"
    if states & {SpotCheckState.GENERATING, SpotCheckState.OPEN}:
        return "in review"
    return "approved" if states else "candidate"
