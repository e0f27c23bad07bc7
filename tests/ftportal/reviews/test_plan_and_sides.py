"""The plan that is fixed before the first vote, and the draw of sides."""

from types import SimpleNamespace
from typing import Any

import pytest

from ftportal.reviews.models import DefectRule
from ftportal.reviews.plan import defects_allowed, plan_sentences
from ftportal.reviews.sides import candidate_is_left
from tests.ftportal.house import check_make


@pytest.mark.parametrize(
    ("items", "allowed"), [(28, 0), (29, 0), (45, 0), (46, 1), (60, 1), (61, 2), (75, 2), (76, 3)]
)
def test_random_prompts_allow_what_still_shows_ten_percent(items: int, allowed: int) -> None:
    # Theory: at most 10 % with 95 % confidence needs 29/46/61/76 items for 0/1/2/3 defects.
    assert defects_allowed(item_count=items, is_pool=True) == allowed


@pytest.mark.parametrize(("items", "allowed"), [(6, 0), (9, 0), (10, 1), (12, 1), (20, 2)])
def test_curated_prompts_allow_one_new_defect_in_ten(items: int, allowed: int) -> None:
    assert defects_allowed(item_count=items, is_pool=False) == allowed


def test_curated_plan_says_that_nothing_follows_for_a_population(pair: SimpleNamespace) -> None:
    spot_check = check_make(pair.candidate, pair.baseline, prompts=12)
    words = " ".join(plan_sentences(spot_check, 12))
    assert spot_check.defect_rule == DefectRule.NEW
    assert "12 prompts, each judged by one reviewer who sees no names." in words
    assert "at most one such defect" in words
    assert "no population claim" in words


def test_random_plan_gives_its_bound(pair: SimpleNamespace) -> None:
    spot_check = check_make(
        pair.candidate, pair.baseline, prompts=20, votes_an_item=2, is_random=True
    )
    words = " ".join(plan_sentences(spot_check, 20))
    assert spot_check.defect_rule == DefectRule.ALL
    assert "judged by 2 reviewers who see no names; where the two disagree, by a third" in words
    assert "no such defect" in words
    assert "0 defects in 20 prompts: at most 13.91 % defective (95 %)" in words  # theory


def test_sides_stay_after_a_reload_and_are_drawn_evenly(
    pair: SimpleNamespace, cast: SimpleNamespace
) -> None:
    spot_check = check_make(pair.candidate, pair.baseline, prompts=400)
    items = list(spot_check.items.all())
    first = [candidate_is_left(item, cast.rob) for item in items]
    assert first == [candidate_is_left(item, cast.rob) for item in items]
    # 400 fair coins lie within 160..240 but for six in a hundred thousand.
    assert 160 <= sum(first) <= 240
    second = [candidate_is_left(item, cast.rosa) for item in items]
    assert 160 <= sum(a == b for a, b in zip(first, second, strict=True)) <= 240


def test_another_key_draws_other_sides(
    pair: SimpleNamespace, cast: SimpleNamespace, settings: Any
) -> None:
    spot_check = check_make(pair.candidate, pair.baseline, prompts=64)
    items = list(spot_check.items.all())
    before = [candidate_is_left(item, cast.rob) for item in items]
    settings.SECRET_KEY = "another key"
    assert before != [candidate_is_left(item, cast.rob) for item in items]
