"""Items that a reviewer put off. Their login session keeps them: nobody else needs to know."""

from django.http import HttpRequest

from ftportal.reviews.models import ReviewItem, SpotCheck

_KEY = "skipped"


def skipped_items(request: HttpRequest, spot_check: SpotCheck) -> list[int]:
    """Keys of the items that were skipped, in their order."""
    kept: list[int] = request.session.get(_KEY, {}).get(str(spot_check.pk), [])
    return kept


def item_skip(request: HttpRequest, item: ReviewItem) -> None:
    """Put an item off, behind those that were put off before."""
    others = [one for one in skipped_items(request, item.spot_check) if one != item.pk]
    _keep(request, item.spot_check, [*others, item.pk])


def item_return(request: HttpRequest, item: ReviewItem) -> None:
    """Put an item off no longer: it was judged, or is judged now."""
    known = skipped_items(request, item.spot_check)
    if item.pk in known:
        _keep(request, item.spot_check, [one for one in known if one != item.pk])


def _keep(request: HttpRequest, spot_check: SpotCheck, items: list[int]) -> None:
    every = {**request.session.get(_KEY, {}), str(spot_check.pk): items}
    request.session[_KEY] = {check: kept for check, kept in every.items() if kept}
