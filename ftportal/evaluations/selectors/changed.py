"""The items whose outcome changed between two evaluations, with both answers."""

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from ftportal.evaluations.models import Sample, Verdict

CHANGES = {"lost": "Lost", "gained": "Gained", "all": "Lost and gained"}


def changed_items(
    verdict: Verdict, *, change: str = "lost", benchmark: str = "", text: str = ""
) -> QuerySet[Sample]:
    """Samples of the later evaluation that were right before and wrong now, or the reverse.

    Each carries `answer_before` and, where there is one, `margin_nats_before`.
    """
    partner = Sample.objects.filter(
        evaluation=verdict.before_id,
        benchmark=OuterRef("benchmark"),
        doc_hash=OuterRef("doc_hash"),
    )
    lost = Q(Exists(partner.filter(correct=True)), correct=False)
    gained = Q(Exists(partner.filter(correct=False)), correct=True)
    wanted = {"lost": lost, "gained": gained}.get(change, lost | gained)
    samples = Sample.objects.filter(wanted, evaluation=verdict.after_id).annotate(
        answer_before=Subquery(partner.values("answer")[:1]),
        margin_nats_before=Subquery(partner.values("margin_nats")[:1]),
    )
    if benchmark:
        samples = samples.filter(benchmark=benchmark)
    if text:
        samples = samples.filter(
            Q(question__icontains=text) | Q(target__icontains=text) | Q(answer__icontains=text)
        )
    return samples
