"""The left navigation, in pipeline order, with the count of what waits for this person."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the navigation."""

    title: str
    icon: str
    url: str
    current: bool
    count: int = 0
    count_title: str = ""


_ENTRIES = (
    ("Home", "home", "dashboard:home"),
    ("Batches", "batch", "datasets:batches"),
    ("Runs", "run", "runs:runs"),
    ("Checkpoints", "checkpoint", "checkpoints:checkpoints"),
    ("Evaluations", "evaluation", "evaluations:evaluations"),
    ("Reviews", "review", "reviews:reviews"),
    ("Promotions", "promotion", "promotions:promotions"),
    ("Compare", "compare", "dashboard:compare"),
    ("Lineage", "lineage", "dashboard:lineage"),
    ("Jobs", "jobs", "jobs:jobs"),
)


def navigation(request: HttpRequest) -> dict[str, Any]:
    """`navigation`: the entries for a logged-in person, nothing otherwise."""
    if not request.user.is_authenticated:
        return {}
    entries = []
    for title, icon, name in _ENTRIES:
        try:
            url = reverse(name)
        except NoReverseMatch:
            continue
        current = request.path == url or (url != "/" and request.path.startswith(url))
        entries.append(Entry(title=title, icon=icon, url=url, current=current))
    return {"navigation": entries}
