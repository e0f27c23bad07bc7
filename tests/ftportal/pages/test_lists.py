"""Lists that sort and page by their address."""

import pytest
from django.template import Context, Template
from django.test import RequestFactory

from ftportal.accounts.models import User
from ftportal.pages.lists import ListPage, page_of

SORT = {"name": "username", "joined": "date_joined"}


@pytest.fixture
def people(db: None) -> None:
    User.objects.bulk_create(User(username=f"user{number:02}") for number in range(30))


def listing(query: str = "") -> ListPage:
    request = RequestFactory().get(f"/people/{query}")
    return page_of(request, User.objects.all(), sort=SORT, default="name", per_page=10)


def names(result: ListPage) -> list[str]:
    return [user.username for user in result.object_list]


def test_it_sorts_by_the_default(people: None) -> None:
    result = listing()
    assert names(result) == [f"user{number:02}" for number in range(10)]
    assert result.count == 30


def test_it_sorts_backwards_and_pages(people: None) -> None:
    assert names(listing("?sort=-name&page=2"))[0] == "user19"


@pytest.mark.parametrize("query", ["?sort=password", "?sort=-password", "?sort=", "?sort=--name"])
def test_only_named_keys_sort(people: None, query: str) -> None:
    result = listing(query)
    assert names(result)[0] == "user00"
    assert result.sort == "name"


@pytest.mark.parametrize(("page", "first"), [("0", "user20"), ("99", "user20"), ("x", "user00")])
def test_a_page_that_is_not_there_is_the_nearest(people: None, page: str, first: str) -> None:
    assert names(listing(f"?page={page}"))[0] == first


def test_rows_of_equal_rank_keep_their_order(db: None) -> None:
    User.objects.bulk_create(User(username=f"u{n:02}", first_name="Same") for n in range(25))
    seen: list[str] = []
    for page in (1, 2, 3):
        request = RequestFactory().get(f"/people/?page={page}")
        result = page_of(
            request, User.objects.all(), sort={"first": "first_name"}, default="first", per_page=10
        )
        seen += names(result)
    assert sorted(seen) == [f"u{n:02}" for n in range(25)]


def render(source: str, query: str) -> str:
    request = RequestFactory().get(f"/people/{query}")
    result = page_of(request, User.objects.all(), sort=SORT, default="name", per_page=10)
    return Template(source).render(Context({"request": request, "listing": result}))


def test_a_header_turns_the_order_round(people: None) -> None:
    header = "{% sort_header listing 'name' 'Name' %}"
    assert "?sort=-name" in render(header, "?page=2")
    assert 'aria-sort="ascending"' in render(header, "")
    assert 'aria-sort="descending"' in render(header, "?sort=-name")
    assert "?sort=name" in render(header, "?sort=-name")
    assert "aria-sort" not in render(header, "?sort=joined")


def test_the_pager_keeps_the_filters(people: None) -> None:
    html = render("{% pager listing %}", "?state=failed&page=2")
    assert "?state=failed&amp;page=1" in html
    assert "?state=failed&amp;page=3" in html
    assert "11–20 of 30" in html


def test_one_page_needs_no_pager(db: None) -> None:
    assert "pager" not in render("{% pager listing %}", "")
