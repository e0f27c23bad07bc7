"""The left navigation, in pipeline order, with the count of what waits for this person."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from ftportal.accounts.models import Role
from ftportal.dashboard.selectors.waiting import waiting_of


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the navigation."""

    key: str
    title: str
    icon: str
    url: str
    current: bool
    count: int = 0
    count_title: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """Lines that belong together; the pipeline itself needs no heading."""

    heading: str
    entries: list[Entry]


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A line before it knows its reader: key, words, and the pages that it stands for.

    `names` are the beginnings of its pages' URL names; without any it stands for every page of
    its app that no other line names.
    """

    key: str
    title: str
    icon: str
    url_name: str
    names: tuple[str, ...] = ()
    role: Role | None = None
    """Who sees the line; None: everybody."""

    @property
    def app(self) -> str:
        return self.url_name.partition(":")[0]


_SECTIONS: tuple[tuple[str, tuple[_Place, ...]], ...] = (
    (
        "",
        (
            _Place(key="home", title="Home", icon="home", url_name="dashboard:home"),
            _Place(key="batches", title="Batches", icon="batch", url_name="datasets:batches"),
            _Place(key="mixtures", title="Mixtures", icon="mixture", url_name="mixtures:mixtures"),
            _Place(key="runs", title="Runs", icon="run", url_name="runs:runs"),
            _Place(
                key="checkpoints",
                title="Checkpoints",
                icon="checkpoint",
                url_name="checkpoints:checkpoints",
            ),
            _Place(
                key="evaluations",
                title="Evaluations",
                icon="evaluation",
                url_name="evaluations:evaluations",
            ),
            _Place(key="reviews", title="Reviews", icon="review", url_name="reviews:reviews"),
            _Place(
                key="promotions",
                title="Promotions",
                icon="promotion",
                url_name="promotions:promotions",
            ),
        ),
    ),
    (
        "Overview",
        (
            _Place(
                key="compare",
                title="Compare",
                icon="compare",
                url_name="dashboard:compare",
                names=("compare",),
            ),
            _Place(
                key="lineage",
                title="Lineage",
                icon="lineage",
                url_name="dashboard:lineage",
                names=("lineage",),
            ),
            _Place(key="jobs", title="Jobs", icon="jobs", url_name="jobs:jobs"),
            _Place(
                key="people",
                title="People",
                icon="people",
                url_name="accounts:people",
                role=Role.ADMINISTRATOR,
            ),
            _Place(
                key="audit",
                title="Audit",
                icon="audit",
                url_name="audit:audit",
                role=Role.ADMINISTRATOR,
            ),
        ),
    ),
    (
        "Measures",
        (
            _Place(
                key="held_out",
                title="Held-out text",
                icon="text",
                url_name="datasets:held_out_sets",
                names=("held_out",),
            ),
            _Place(
                key="prompts",
                title="Prompts",
                icon="prompt",
                url_name="datasets:prompt_sets",
                names=("prompt",),
            ),
            _Place(
                key="benchmarks",
                title="Benchmarks",
                icon="check",
                url_name="evaluations:benchmarks",
                names=("benchmark",),
            ),
            _Place(
                key="suites",
                title="Suites",
                icon="evaluation",
                url_name="evaluations:suites",
                names=("suite",),
            ),
            _Place(
                key="rules",
                title="Rules",
                icon="rules",
                url_name="evaluations:rules",
                names=("rule",),
            ),
        ),
    ),
)


def navigation(request: HttpRequest) -> dict[str, Callable[[], list[Section]]]:
    """`navigation`: the sections for a logged-in person, none otherwise.

    A callable: templates call it where they show it, so fragments pay no query for it.
    """
    return {"navigation": lambda: _sections(request)}


def _sections(request: HttpRequest) -> list[Section]:
    if not request.user.is_authenticated:
        return []
    current = _current_key(request)
    waiting = waiting_of(request)
    counts = Counter(one.place for one in waiting)

    def entry(place: _Place) -> Entry:
        titles = [one.title for one in waiting if one.place == place.key]
        return Entry(
            key=place.key,
            title=place.title,
            icon=place.icon,
            url=reverse(place.url_name),
            current=place.key == current,
            count=counts[place.key],
            count_title="Waits for you: " + "; ".join(titles),
        )

    user: Any = request.user
    return [
        Section(
            heading=heading,
            entries=[
                entry(place) for place in places if place.role is None or user.has_role(place.role)
            ],
        )
        for heading, places in _SECTIONS
    ]


_SHOWN_WITH = {"blends": "checkpoints", "learnability": "datasets"}
"""Apps without a line of their own, and whose line their pages belong to."""


def _current_key(request: HttpRequest) -> str:
    """The line that the page belongs to: by its URL's name first, else by its app."""
    match: Any = request.resolver_match
    if match is None:
        return ""
    app = _SHOWN_WITH.get(match.app_name, match.app_name)
    places = [place for _, group in _SECTIONS for place in group if place.app == app]
    for place in places:
        if place.names and match.url_name.startswith(place.names):
            return place.key
    return next((place.key for place in places if not place.names), "")
