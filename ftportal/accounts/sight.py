"""Who sees what: rows that hang on a restricted language model are not there for outsiders.

Tables name in `restricted_by` how they hang on a language model, and have `SightManager` for their
manager. While a request is answered, every query of theirs leaves out what the person may not see:
lists, counts, choices of forms, exports, `get_object_or_404`. So a new page needs no line of its
own, and cannot forget one. Where nobody looks, as in workers and commands, all rows are there.

A service whose decision must not hang on who looks asks `Model.objects.everything()`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any, TypeVar, cast

from django.db import models
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

Row = TypeVar("Row", bound=models.Model, covariant=True)
Find = Callable[[Any], Iterable[int]]
"""From a user, AnonymousUser too, to the keys of the language models that are hidden from them."""


def _nothing(user: Any) -> Iterable[int]:
    return ()


class _Rule:
    """Set by the floor that has the language models; this one does not know them."""

    find: Find = staticmethod(_nothing)


def hidden_models_found_by(find: Find) -> None:
    """Let `find` say which language models are hidden from a person."""
    _Rule.find = staticmethod(find)


class _Viewer:
    """Who looks, and what is hidden from them: asked once a request, and only if need be."""

    def __init__(self, user: Any) -> None:
        self.user = user

    @cached_property
    def hidden(self) -> frozenset[int]:
        return frozenset(_Rule.find(self.user))


_viewer: ContextVar[_Viewer | None] = ContextVar("viewer", default=None)


@contextmanager
def seen_by(user: Any) -> Iterator[None]:
    """Read as this person; an AnonymousUser sees nothing that is restricted."""
    token = _viewer.set(_Viewer(user))
    try:
        yield
    finally:
        _viewer.reset(token)


def hidden_models() -> frozenset[int]:
    """Keys of the language models that the person who looks may not see."""
    viewer = _viewer.get()
    if viewer is None:
        return frozenset()
    token = _viewer.set(None)  # what is hidden is itself asked with open eyes
    try:
        return viewer.hidden
    finally:
        _viewer.reset(token)


def viewer_key() -> int | None:
    """Key of the person who looks; None for nobody and for who is not logged in."""
    viewer = _viewer.get()
    return viewer.user.pk if viewer is not None else None


class SightManager(models.Manager[Row]):
    """The rows that the person who looks may see."""

    def get_queryset(self) -> models.QuerySet[Row]:
        """Without what hangs on a hidden model; all rows where nobody looks."""
        rows = super().get_queryset()
        hidden = hidden_models()
        if hidden:
            for path in cast(Any, self.model).restricted_by:
                rows = rows.exclude(leading_to(self.model, path, hidden))
        return rows

    def none(self) -> models.QuerySet[Row]:
        """No rows, whoever looks: forms ask for them while their files are imported."""
        return self.everything().none()

    def everything(self) -> models.QuerySet[Row]:
        """All rows, whoever looks: for names that are taken and queues that are shared."""
        return super().get_queryset()


def leading_to(
    model: type[models.Model], path: str, language_models: Iterable[int] | None = None
) -> models.Q:
    """Rows of `model` from which `path` leads to one of these language models, or to any.

    By a subquery, so that a row that is locked for an update takes no other table's row along.
    """
    first, _, rest = path.partition(LOOKUP_SEP)
    if not rest and language_models is not None:
        return models.Q(**{f"{path}__in": language_models})
    relation: Any = model._meta.get_field(first)
    others = relation.related_model._base_manager.all()
    if language_models is not None:
        others = others.filter(**{f"{rest}__in": language_models})
    if relation.auto_created:
        # The other table points here, or nowhere: nothing is outside a list that holds a NULL.
        key = relation.field.attname
        return models.Q(pk__in=others.filter(**{f"{key}__isnull": False}).values(key))
    return models.Q(**{f"{first}__in": others.values("pk")})


class SightMiddleware:
    """Every request is answered with the eyes of who is logged in, to its last streamed line."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer as who is logged in."""
        with seen_by(request.user):
            response = self._get_response(request)
        is_made_later = isinstance(response, StreamingHttpResponse) and not response.is_async
        if is_made_later and not hasattr(response, "file_to_stream"):
            lines = iter(cast(Any, response).streaming_content)
            cast(Any, response).streaming_content = _streamed(request.user, lines)
        return response


def _streamed(user: Any, lines: Iterator[bytes]) -> Iterator[bytes]:
    """The lines of an answer, each made with these eyes: the server asks for them later."""
    while True:
        with seen_by(user):
            line = next(lines, None)
        if line is None:
            return
        yield line
