"""The reviewer's side without a script: the queue, the review with its edits, decisions, conflicts, grants."""

from __future__ import annotations

import csv
import io
import re

import pytest

from tests.portal.pages.conftest import SignIn
from tests.portal.pages.gate import Browser
from tests.portal.pages.test_asking import PURPOSE, ask


@pytest.fixture
def tess(sign_in: SignIn) -> Browser:
    return sign_in("tess")


@pytest.fixture
def rosa(sign_in: SignIn) -> Browser:
    return sign_in("rosa")


def test_the_queue_shows_who_waits_longest_first_and_counts(tess: Browser, rosa: Browser) -> None:
    rosa.open("/desk")
    assert "Nobody is waiting" in rosa.text
    first, second = ask(tess, "Instagram"), ask(tess, "TikTok")
    markup = rosa.open("/desk").text
    assert 0 < markup.index(f'"/desk/{first}"') < markup.index(f'"/desk/{second}"')
    assert "2 waiting for the desk" in rosa.text
    assert PURPOSE in rosa.text and "Edison High School" in rosa.text
    markup = rosa.open("/desk?sort=tool&order=desc").text
    assert markup.index(f'"/desk/{second}"') < markup.index(f'"/desk/{first}"')
    assert 'aria-sort="descending"' in markup


def test_the_review_says_why_each_name_is_blocked_and_proposes_the_bundle(tess: Browser, rosa: Browser) -> None:
    number = ask(tess, "https://www.instagram.com/p/1", "example.com")
    rosa.open(f"/desk/{number}")
    assert "Category Social media, service Instagram; list instagram holds instagram.com." in rosa.text
    assert "example.com: the filter does not block this" in rosa.text
    form = rosa.form(f"/desk/{number}")
    names = form["entry_name"]
    assert {"instagram.com", "cdninstagram.com", "example.com"} <= set(names)
    assert names[-1] == ""  # a row to fill in
    assert (form["sites"], form["audiences"]) == (["edison"], ["students", "staff"])


def test_a_locked_name_is_offered_unticked_and_says_why(tess: Browser, rosa: Browser) -> None:
    number = ask(tess, "Instagram", "pornhub.com")
    rosa.open(f"/desk/{number}")
    form = rosa.form(f"/desk/{number}")
    at = str(form["entry_name"].index("pornhub.com"))
    assert at not in form["entry_on"]
    assert "locked: in “" in rosa.text and "no request opens it" in rosa.text
    rosa.send(f"/desk/{number}", {"decision": "approve"})
    assert rosa.path() == f"/requests/{number}"


def test_the_reviewer_edits_the_grant_and_approves(tess: Browser, rosa: Browser, sign_in: SignIn) -> None:
    number = ask(tess, "Instagram")
    rosa.open(f"/desk/{number}")
    form = rosa.form(f"/desk/{number}")
    names, matches = form["entry_name"], form["entry_match"]
    at = names.index("instagram.com")
    names[-1], matches[at] = "museum.example", "exact"
    changes = {
        "entry_name": names,
        "entry_match": matches,
        "entry_on": (str(at), str(len(names) - 1)),
        "sites": ("edison", "lincoln"),
        "audiences": "students",
        "ends_time": "15:00",
        "hours0_days": ("0", "2"),
        "hours0_start": "08:00",
        "hours0_end": "15:00",
        "decision": "approve",
        "reason": "For the unit.",
    }
    rosa.send(f"/desk/{number}", changes)
    assert rosa.path() == f"/requests/{number}"
    text = rosa.text
    assert "instagram.com only and museum.example" in text
    assert "Students at Edison High School and Lincoln Middle School" in text
    assert "Lincoln Middle School, Mon and Wed, 08:00–15:00, until" in text  # the gate hides no limit
    assert "Mon and Wed, 08:00–15:00" in text
    assert "3:00 PM C" in text  # the zone is named
    assert "cdninstagram.com only" not in text
    assert "Rosa Diaz approved it" in text and "For the unit." in text
    amir = sign_in("amir")
    amir.open("/audit?tag=request.decision.approve")
    assert re.search(r"until: \w+ \d+, \d+, 3:00 PM C[DS]T", amir.text)  # a moment in words, not in seconds


def test_another_name_is_added_by_reload_and_nothing_is_decided(tess: Browser, rosa: Browser) -> None:
    number = ask(tess, "Instagram")
    rosa.open(f"/desk/{number}")
    before = rosa.form(f"/desk/{number}")["entry_name"]
    rosa.send(f"/desk/{number}", {"entry_on": "1", "reason": "Half a thought", "action": "more"})
    form = rosa.form(f"/desk/{number}")
    assert form["entry_name"] == [*before, ""]
    assert form["entry_on"] == ["1", str(len(before))]
    assert form["reason"] == ["Half a thought"]
    assert "Waiting for the desk" in rosa.text


def test_mistakes_of_the_grant_stand_beside_their_rows(tess: Browser, rosa: Browser) -> None:
    number = ask(tess, "Instagram")
    rosa.open(f"/desk/{number}")
    names = rosa.form(f"/desk/{number}")["entry_name"]
    names[0], names[1], names[2] = "co.uk", "www.kept-out.example", "pornhub.com"
    changes = {
        "entry_name": names,
        "entry_on": ("0", "2"),
        "audiences": (),
        "ends_at": "2020-01-01",
        "hours0_start": "10:00",
        "hours0_end": "09:00",
        "decision": "approve",
    }
    page = rosa.send(f"/desk/{number}", changes)
    assert page.status_code == 422
    markup = page.text
    assert 'href="#f-entries-0"' in markup and 'href="#f-entries-2"' in markup and 'href="#f-entries-1"' not in markup
    assert "public suffix" in rosa.text and "locked" in rosa.text
    assert 'href="#f-audiences"' in markup and 'href="#f-ends-at"' in markup and 'href="#f-hours"' in markup
    form = rosa.form(f"/desk/{number}")
    assert form["entry_name"] == names and form["entry_on"] == ["0", "2"]
    assert form["ends_at"] == ["2020-01-01"]


@pytest.mark.parametrize("decision", ["deny", "ask", "not-our-block"])
def test_all_but_an_approval_need_a_reason(tess: Browser, rosa: Browser, decision: str) -> None:
    number = ask(tess, "Instagram")
    rosa.open(f"/desk/{number}")
    assert rosa.send(f"/desk/{number}", {"decision": decision}).status_code == 422
    assert "Say why, in a sentence for the requester" in rosa.text
    rosa.send(f"/desk/{number}", {"decision": decision, "reason": "Because."})
    assert rosa.path() == "/desk"


def test_of_two_reviewers_one_wins_and_the_other_is_told_and_keeps_what_was_typed(
    tess: Browser, rosa: Browser, sign_in: SignIn
) -> None:
    number = ask(tess, "Instagram")
    ben = sign_in("ben")
    rosa.open(f"/desk/{number}")
    ben.open(f"/desk/{number}")
    rosa.send(f"/desk/{number}", {"decision": "approve"})
    page = ben.send(f"/desk/{number}", {"decision": "deny", "reason": "Not in this unit."})
    assert page.status_code == 409
    assert "Somebody was faster" in ben.text and "Rosa Diaz approved this" in ben.text
    assert ben.form(f"/desk/{number}")["reason"] == ["Not in this unit."]
    again = ben.send(f"/desk/{number}", {"decision": "deny"})  # the same page again does not win either
    assert again.status_code == 409


def test_nobody_decides_their_own_request(rosa: Browser, sign_in: SignIn) -> None:
    number = ask(rosa, "LinkedIn")
    rosa.open(f"/desk/{number}")
    assert "This is your own request." in rosa.text
    with pytest.raises(AssertionError, match="no form"):
        rosa.form(f"/desk/{number}")
    ben = sign_in("ben")
    ben.open(f"/desk/{number}")
    fields = ben.form(f"/desk/{number}")
    rosa.open(f"/desk/{number}")
    fields["csrf"] = rosa.form("/sign-out")["csrf"]
    fields["decision"] = ["approve"]
    answer = rosa.client.post(f"/desk/{number}", data=fields, headers={"Accept": "text/html"})
    assert answer.status_code == 403
    assert "Nobody decides their own request" in answer.text


def test_an_administrator_reads_the_review_and_decides_nothing(tess: Browser, sign_in: SignIn) -> None:
    number = ask(tess, "Instagram")
    amir = sign_in("amir")
    amir.open(f"/desk/{number}")
    assert "Why it is blocked" in amir.text
    with pytest.raises(AssertionError, match="no form"):
        amir.form(f"/desk/{number}")


def test_a_grant_is_listed_exported_and_revoked_with_a_reason(tess: Browser, rosa: Browser) -> None:
    number = ask(tess, "Instagram")
    rosa.open(f"/desk/{number}")
    rosa.send(f"/desk/{number}", {"decision": "approve"})
    rosa.open("/grants")
    assert f"request № {number}" in rosa.text
    assert "No resolver" in rosa.text  # nothing is enrolled, and the page does not say that it is in force
    assert "In force on" not in rosa.text
    (row,) = csv.DictReader(io.StringIO(rosa.open("/grants.csv").text))
    assert row["authority"] == "request" and row["number"] == str(number) and "instagram.com:subtree" in row["names"]
    rosa.open("/grants/1")
    assert rosa.send("/grants/1/revoke").status_code == 422
    assert "the requester reads it" in rosa.text
    rosa.send("/grants/1/revoke", {"reason": "The unit is over."})
    assert "Revoked" in rosa.text and "The unit is over." in rosa.text
    with pytest.raises(AssertionError, match="no form"):
        rosa.form("/grants/1/revoke")
    assert csv_rows(rosa, "/grants.csv?status=revoked") == 1
    assert csv_rows(rosa, "/grants.csv?status=ended") == 0
    tess.open(f"/requests/{number}")
    assert "revoked grant № 1" in tess.text and "The unit is over." in tess.text


def csv_rows(browser: Browser, path: str) -> int:
    return len(list(csv.DictReader(io.StringIO(browser.open(path).text))))


def test_a_teacher_sees_grants_and_revokes_none(tess: Browser, rosa: Browser) -> None:
    number = ask(tess, "Instagram")
    rosa.open(f"/desk/{number}")
    rosa.send(f"/desk/{number}", {"decision": "approve"})
    tess.open("/grants/1")
    with pytest.raises(AssertionError, match="no form"):
        tess.form("/grants/1/revoke")
    token = tess.form("/sign-out")["csrf"][0]
    answer = tess.client.post("/grants/1/revoke", data={"csrf": token, "reason": "x"}, headers={"Accept": "text/html"})
    assert answer.status_code == 403
