"""The page on which a reviewer judges: addresses, Back, skip, change, take back; what it shows."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from ftportal.reviews.models import Generation, ItemLease, SpotCheck, Vote
from ftportal.reviews.services import spot_check_close, spot_check_decide, spot_check_open
from ftportal.reviews.sides import candidate_is_left
from tests.ftportal.house import check_make, prompts_make, votes_give


def url(name: str, *args: Any) -> str:
    return reverse(f"reviews:{name}", args=args)


@pytest.fixture
def check(pair: SimpleNamespace, cast: Any) -> SpotCheck:
    """Open for votes; Tina has started the run."""
    return check_make(pair.candidate, pair.baseline, prompts=3, submitter=cast.tina)


@pytest.fixture
def rob(client_of: Any, cast: Any) -> Any:
    """Rob's browser."""
    return client_of(cast.rob)


def opened(client: Any, check: SpotCheck) -> Any:
    """The page of the next item, as a browser comes to it."""
    return client.get(url("vote", check.pk), follow=True)


def judge(client: Any, page: Any, **said: Any) -> Any:
    """Send the form of an item's page."""
    form = {"seen": page.context["page"].seen, "preference": "tie"} | said
    return client.post(url("item", page.context["spot_check"].pk, number_of(page)), form)


def number_of(page: Any) -> int:
    number: int = page.context["ballot"].number
    return number


def text_of(page: Any) -> str:
    text: str = page.content.decode()
    return text


def answers_set(check: SpotCheck, **texts: str) -> None:
    """Let candidate and baseline have answered every prompt with these texts."""
    for side, text in texts.items():
        answers = getattr(check, f"{side}_answers")
        Generation.objects.filter(generation_set=answers).update(text=text)


# --- addresses ----------------------------------------------------------------------------------


def test_a_check_closed_before_its_answers_came_has_no_items(
    pair: SimpleNamespace, cast: Any, rob: Any
) -> None:
    check = spot_check_open(
        candidate=pair.candidate,
        baseline=pair.baseline,
        prompt_set=prompts_make(3),
        submitter=cast.tina,
    )
    spot_check_close(spot_check=check, actor=cast.ada, reason="Nobody has time.")
    assert rob.get(url("item", check.pk, 1)).status_code == 404
    assert rob.get(url("answers", check.pk, 1)).status_code == 404
    assert "No votes of yours" in text_of(rob.get(url("mine", check.pk)))


def test_every_item_has_its_own_address(rob: Any, check: SpotCheck) -> None:
    page = opened(rob, check)
    assert page.redirect_chain[-1][0] == url("item", check.pk, number_of(page))
    again = rob.get(url("item", check.pk, number_of(page)))
    assert again.context["ballot"].left == page.context["ballot"].left
    assert rob.get(url("item", check.pk, 0)).status_code == 404
    assert rob.get(url("item", check.pk, 4)).status_code == 404
    assert page.headers["Cache-Control"] == "no-store"


def test_voting_goes_through_all_prompts(rob: Any, check: SpotCheck) -> None:
    numbers = []
    for judged in (0, 1, 2):
        page = opened(rob, check)
        numbers.append(number_of(page))
        assert f"{judged} judged by you, {3 - judged} left for you" in text_of(page)
        assert judge(rob, page, preference="left").status_code == 302
    assert sorted(numbers) == [1, 2, 3]
    done = opened(rob, check)
    assert done.redirect_chain[-1][0] == url("mine", check.pk)
    assert "Nothing is left for you to judge" in text_of(done)
    main = text_of(done).split("<main")[1]
    assert "Zebra nine" not in main  # names are one press away, and not in one's face
    assert Vote.objects.count() == 3


def test_a_judged_item_is_shown_as_it_was_judged(rob: Any, check: SpotCheck) -> None:
    page = opened(rob, check)
    said = {"left_defective": "on", "left_category": "fact", "left_reason": "Not in 1805."}
    said |= {"note": "Close, though.", "corrected_answer": "It was **1806**."}
    judge(rob, page, preference="right", **said)
    back = rob.get(url("item", check.pk, number_of(page)))
    body = text_of(back)
    assert "You judged: right is better" in body
    assert "Left is defective: wrong fact" in body
    assert "Not in 1805." in body
    assert "Close, though." in body
    assert "<strong>1806</strong>" in body
    assert 'name="preference"' not in body  # nothing there can be sent by mistake


def test_an_old_page_changes_nothing(rob: Any, check: SpotCheck) -> None:
    page = opened(rob, check)
    judge(rob, page, preference="left")
    for said in ({"preference": "right"}, {"preference": ""}):
        answer = judge(rob, page, **said)
        assert answer.url == url("item", check.pk, number_of(page))
        assert "that vote stands" in text_of(rob.get(answer.url))
    assert Vote.objects.get().preference == "left"


def test_a_form_sent_twice_is_one_vote_and_no_complaint(rob: Any, check: SpotCheck) -> None:
    page = opened(rob, check)
    first, second = judge(rob, page), judge(rob, page)
    assert first.url == second.url
    assert Vote.objects.count() == 1
    assert "before" not in "".join(map(str, rob.get(second.url).context["messages"]))


def test_a_vote_is_on_what_was_seen(rob: Any, check: SpotCheck) -> None:
    page = opened(rob, check)
    answers_set(check, candidate="Something else.")
    answer = judge(rob, page)
    assert answer.url == url("item", check.pk, number_of(page))
    assert "have changed since you opened the page" in text_of(rob.get(answer.url))
    missing = rob.post(answer.url, {"preference": "tie"})
    assert missing.status_code == 302
    assert not Vote.objects.exists()


def test_a_decision_meanwhile_is_told(rob: Any, check: SpotCheck, cast: Any) -> None:
    page = opened(rob, check)
    ItemLease.objects.all().delete()  # the page stayed open longer than its prompt is held
    votes_give(check, cast.rosa)
    spot_check_decide(spot_check=check, decided_by=cast.rosa, approve=True, reason="fine")
    answer = judge(rob, page)
    body = text_of(rob.get(answer.url, follow=True))
    assert "Rosa has decided this spot-check meanwhile: approved" in body
    assert not Vote.objects.filter(reviewer=cast.rob).exists()
    assert "so no vote is taken any more" in text_of(rob.get(url("item", check.pk, 1)))


def test_an_item_that_others_have_judged_says_so(rob: Any, check: SpotCheck, cast: Any) -> None:
    votes_give(check, cast.rosa, limit=1)
    number = Vote.objects.get().item.position + 1
    body = text_of(rob.get(url("item", check.pk, number)))
    assert "This prompt is for other reviewers" in body
    assert 'name="preference"' not in body
    assert "it makes things up" not in body


def test_the_submitter_gets_a_clear_refusal(client_of: Any, cast: Any, check: SpotCheck) -> None:
    cast.tina.is_reviewer = True
    cast.tina.save()
    client = client_of(cast.tina)
    for address in (url("vote", check.pk), url("item", check.pk, 1), url("mine", check.pk)):
        page = client.get(address)
        assert page.status_code == 403
        assert "You started the run" in text_of(page)
    assert client.post(url("item", check.pk, 1), {"preference": "tie"}).status_code == 403
    assert not Vote.objects.exists()
    assert url("vote", check.pk) not in text_of(client.get(url("reviews")))


# --- what is wrong with a form ------------------------------------------------------------------


def test_a_defect_without_its_kind_and_reason_comes_back(rob: Any, check: SpotCheck) -> None:
    page = opened(rob, check)
    said = {"preference": "right", "left_defective": "on", "note": "keep <me>"}
    answer = judge(rob, page, **said)
    assert answer.status_code == 422
    body = text_of(answer)
    assert "Choose what kind of defect it is." in body
    assert "Say in a few words what is wrong with it." in body
    assert 'value="right" checked' in body
    assert 'data-defect="left" checked' in body
    assert "keep &lt;me&gt;</textarea>" in body
    assert not Vote.objects.exists()


def test_a_vote_without_a_preference_comes_back(rob: Any, check: SpotCheck) -> None:
    answer = judge(rob, opened(rob, check), preference="")
    assert answer.status_code == 422
    assert "Choose left, right, tie or both bad." in text_of(answer)


# --- skip, return, change, take back ------------------------------------------------------------


def test_what_was_skipped_comes_last(rob: Any, check: SpotCheck) -> None:
    first = opened(rob, check)
    second = rob.post(url("skip", check.pk, number_of(first)), follow=True)
    assert number_of(second) != number_of(first)
    assert "1 skipped: return to it" in text_of(second)
    judge(rob, second)
    third = opened(rob, check)
    assert number_of(third) not in (number_of(first), number_of(second))
    back = rob.get(url("vote", check.pk) + "?skipped", follow=True)
    assert number_of(back) == number_of(first)
    last = rob.get(judge(rob, third).url, follow=True)
    assert number_of(last) == number_of(first)
    assert "Only the prompt that you skipped is left." in text_of(last)
    again = rob.post(url("skip", check.pk, number_of(last)), follow=True)
    assert number_of(again) == number_of(first)
    assert "the only one left for you" in text_of(again)
    done = rob.get(judge(rob, again).url, follow=True)
    assert "Nothing is left" in text_of(done)
    assert "skipped" not in text_of(done)


def test_a_vote_is_changed_only_where_that_is_said(rob: Any, check: SpotCheck) -> None:
    page = opened(rob, check)
    judge(rob, page, preference="left", note="first")
    form = rob.get(url("item", check.pk, number_of(page)) + "?change")
    body = text_of(form)
    assert "Change your vote" in body
    assert 'value="left" checked' in body
    assert ">first</textarea>" in body
    answer = judge(rob, form, preference="right", change="on")
    assert answer.url == url("item", check.pk, number_of(page))
    assert "Your vote was changed." in text_of(rob.get(answer.url))
    vote = Vote.objects.get()
    assert (vote.preference, vote.note) == ("right", "")


def test_the_last_vote_and_any_other_is_taken_back(rob: Any, check: SpotCheck) -> None:
    assert "Take back" not in text_of(opened(rob, check))
    numbers = []
    for _ in range(3):
        page = opened(rob, check)
        numbers.append(number_of(page))
        judge(rob, page)
    mine = text_of(rob.get(url("mine", check.pk)))
    assert mine.count("Take back") == 3
    undone = rob.post(url("undo", check.pk), {"number": numbers[0]})
    assert undone.url == url("item", check.pk, numbers[0])
    assert 'name="preference"' in text_of(rob.get(undone.url))
    assert rob.post(url("undo", check.pk)).url == url("item", check.pk, numbers[2])
    assert [vote.item.position + 1 for vote in Vote.objects.all()] == [numbers[1]]
    gone = rob.post(url("undo", check.pk), {"number": numbers[0]}, follow=True)
    assert "There is no vote of yours" in text_of(gone)
    assert Vote.objects.count() == 1


def test_ones_own_votes_are_listed_and_nobody_elses(
    client_of: Any, rob: Any, check: SpotCheck, cast: Any
) -> None:
    judge(rob, opened(rob, check), preference="both_bad", note="Neither helps.")
    votes_give(check, cast.rosa, limit=1, defects=1)
    body = text_of(rob.get(url("mine", check.pk)))
    assert "Both bad" in body
    assert "Neither helps." in body
    assert "it makes things up" not in body
    assert "Zebra nine" not in body
    assert "No votes of yours" not in body
    other = client_of(cast.rosa).get(url("mine", check.pk))
    assert "Neither helps." not in text_of(other)


# --- how answers are shown ----------------------------------------------------------------------


def test_answers_are_laid_out_or_shown_as_written(rob: Any, check: SpotCheck) -> None:
    answers_set(check, candidate="Say **it** <b>now</b>.", baseline="Say **it** <b>now</b>.")
    page = opened(rob, check)
    body = text_of(page)
    assert body.count("Say <strong>it</strong> &lt;b&gt;now&lt;/b&gt;.") == 2
    assert "Both answers are the same, word for word." in body
    fragment = rob.get(url("answers", check.pk, number_of(page)) + "?show=written")
    assert text_of(fragment).count("Say **it** &lt;b&gt;now&lt;/b&gt;.") == 2
    assert "<html" not in text_of(fragment)
    assert 'name="show" value="written"' in text_of(fragment)
    after = judge(rob, page, show="written")
    assert after.url.endswith("?show=written")  # the next ones are shown in the same manner


def test_differences_are_marked_on_request(rob: Any, check: SpotCheck) -> None:
    answers_set(check, candidate="The sea is blue.", baseline="The sea is green.")
    page = opened(rob, check)
    fragment = text_of(rob.get(url("answers", check.pk, number_of(page)) + "?show=differences"))
    assert sorted(re.findall(r"<mark[^>]*>([^<]*)</mark>", fragment)) == ["blue.", "green."]
    assert "Marked is what the other answer does not have." in fragment


def test_reasoning_stands_apart_on_both_sides(rob: Any, check: SpotCheck) -> None:
    answers_set(
        check, candidate="<think>\nTwo and two.\n</think>\n\nIt is 4.", baseline="4, I think."
    )
    page = opened(rob, check)
    body = text_of(page)
    assert re.search(r"<details class=\"reasoning\"[^>]*><summary>Reasoning, 3 words", body)
    assert body.count("No reasoning before it.") == 1
    left, right = (
        text_of(rob.get(url("answer_text", check.pk, number_of(page), side)))
        for side in ("left", "right")
    )
    assert {left, right} == {"It is 4.", "4, I think."}
    assert rob.get(url("answer_text", check.pk, number_of(page), "middle")).status_code == 404


def test_a_cut_answer_says_where(rob: Any, check: SpotCheck) -> None:
    answers = Generation.objects.filter(generation_set=check.candidate_answers)
    answers.update(finish_reason="length", token_count=None)
    page = opened(rob, check)
    assert text_of(page).count("Cut at 64 tokens.") == 1
    answers.update(text="<think>Let me see", token_count=60)
    body = text_of(rob.get(url("item", check.pk, number_of(page))))
    assert "Cut at 60 tokens, before its answer began." in body


def test_hostile_answers_load_nothing(rob: Any, check: SpotCheck) -> None:
    hostile = (
        "![x](https://evil.example/a.png) [y](javascript:alert(1)) <script>alert(1)</script>\n\n"
        "<img src=x onerror=alert(1)>"
    )
    answers_set(check, candidate=hostile, baseline=f"<think>{hostile}</think>{hostile}")
    page = opened(rob, check)
    judge(rob, page, note=hostile, corrected_answer=hostile)
    addresses = [
        url("item", check.pk, number_of(page)),
        url("item", check.pk, number_of(page)) + "?change",
        url("mine", check.pk),
        *(
            url("answers", check.pk, number_of(page)) + f"?show={show}"
            for show in ("laid-out", "written", "differences")
        ),
    ]
    for address in addresses:
        body = text_of(rob.get(address))
        assert "evil.example" in body, address
        assert not re.search(
            r"<(img|iframe|script(?! src=\"/static))|<[^>]* (onerror|href=.java)", body
        )
        assert not re.search(r"(src|href)=\"[^\"]*(evil|javascript)", body)


def test_a_megabyte_is_shown_within_a_second(rob: Any, check: SpotCheck) -> None:
    import time

    answers_set(check, candidate="[a](b " * 170_000, baseline="word " * 200_000)
    address = url("item", check.pk, number_of(opened(rob, check)))
    begin = time.process_time()
    page = rob.get(address)
    assert time.process_time() - begin < 1
    assert "it is too long to be laid out" in text_of(page)
    assert re.search(r"Show all, [\d,]+ more words", text_of(page))


def test_long_answers_fold(rob: Any, check: SpotCheck) -> None:
    long = "\n\n".join("word " * 30 for _ in range(20))
    answers_set(check, candidate=long, baseline="Short.")
    body = text_of(opened(rob, check))
    assert body.count("Show all, 420 more words") == 1
    assert 'class="prose-rest"' in body


# --- nothing tells the sides --------------------------------------------------------------------


def test_the_page_tells_no_sides(rob: Any, pair: SimpleNamespace, cast: Any) -> None:
    """With equal texts a page is the same whichever side is the candidate's."""
    check = check_make(pair.candidate, pair.baseline, prompts=12)
    answers_set(check, candidate="The same.", baseline="The same.")
    bodies, sides = set(), set()
    for item in check.items.all():
        body = text_of(rob.get(url("item", check.pk, item.position + 1))).split("<main")[1]
        number = item.position + 1
        own = (f"rompt {number}", f"items/{number}/", str(item.prompt))
        for words in (*own, item.prompt.get_group_display()):
            body = body.replace(words, "")
        bodies.add(re.sub(r'name="(csrfmiddlewaretoken|seen)" value="\w+"', "", body))
        sides.add(candidate_is_left(item, cast.rob))
    assert sides == {True, False}
    assert len(bodies) == 1
