"""What is blocked, corrections, custom blocks and exceptions in a browser without scripts."""

from __future__ import annotations

from datetime import date, timedelta

from tests.portal.pages.conftest import SignIn

LATER = (date.today() + timedelta(days=60)).isoformat()


def test_a_change_is_drafted_looked_at_published_and_undone(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    browser.open("/changes")
    browser.send("/changes", {"scopes": "district/students", "things": "category/messaging", "say": "allow"})
    assert "say why" in browser.text.lower()
    browser.send("/changes", {"reason": "The board decided"})
    assert "What changes if you publish this" in browser.text and "Students at Edison High School" in browser.text
    browser.send("/changes/1", {"action": "publish"})
    assert "Published by Amir Khan" in browser.text
    browser.send("/changes/1", {"action": "undo", "reason": "Too loud"})
    assert "It undoes № 1" in browser.text


def test_a_change_waits_for_its_date(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    browser.open("/changes")
    lines = {"scopes": "district/staff", "things": "service/instagram", "say": "block", "reason": "From spring"}
    browser.send("/changes", lines)
    browser.send("/changes/1", {"action": "schedule", "publish_at": "2020-01-01T08:00"})
    assert "choose a time from now on" in browser.text.lower()
    browser.send("/changes/1", {"action": "schedule", "publish_at": f"{LATER}T08:00"})
    assert "Scheduled" in browser.text
    browser.send("/changes/1", {"action": "discard"})
    assert "Discarded" in browser.text


def test_an_old_allowlist_is_read_without_opening_it_and_then_is_one_exception(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    browser.open("/exceptions")
    text = "# old filter\n*.vendor.example\nnews.example\nnot a name!\n"
    browser.send("/exceptions", {"kind": "imported", "names": text, "action": "dry-run"})
    assert "2 names would be opened" in browser.text and "1 line stays closed" in browser.text
    given = {"sites": "*", "audiences": "staff", "reason": "From the old box", "review_on": LATER, "action": "open"}
    browser.send("/exceptions", given)
    assert "vendor.example" in browser.text and "1 by exception" in browser.text


def test_names_are_blocked_and_lists_corrected_with_a_review_date(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    browser.open("/blocks")
    block = {"name": "games.example", "match": "subtree", "sites": "*", "audiences": "students", "review_on": LATER}
    browser.send("/blocks", block | {"reason": "Lunch is over"})
    assert "games.example" in browser.text and "Lunch is over" in browser.text
    browser.send("/blocks/1/end")
    assert "Ended" in browser.text
    browser.open("/corrections")
    browser.send(
        "/corrections", {"name": "ok.example", "match": "exact", "lists": "*", "reason": "x", "review_on": LATER}
    )
    assert "Waits for a second person" in browser.text
    other = sign_in("rosa")
    other.open("/corrections")
    assert "Confirm" not in other.text


def test_groups_are_found_by_what_their_row_says_and_exported(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    browser.open("/district?find=edison")
    assert "Edison High School" in browser.text and "No group is like that" not in browser.text
    browser.open("/district?find=nothing-like-it")
    assert "No group is like that" in browser.text
    rows = browser.client.get("/district.csv").text.splitlines()
    assert rows[0] == "site,name,audience,networks,asked,blocks,services" and len(rows) > 5


def test_a_groups_page_says_which_rule_decides(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    browser.open("/changes")
    lines = {"scopes": "district/students", "things": "category/messaging", "say": "allow", "reason": "The board"}
    browser.send("/changes", lines)
    browser.send("/changes/1", {"action": "publish"})
    browser.open("/district/groups/edison/students")
    assert "Which rule decides" in browser.text and "Students of the whole district The board" in browser.text


def test_a_device_profile_is_shown_once_and_ended(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    browser.open("/profiles")
    browser.send("/profiles", {"group": "edison/staff", "name": ""})
    assert "say which devices it is for" in browser.text.lower()
    browser.send("/profiles", {"name": "Edison’s laptops"})
    assert browser.text.count("https://SERVER/dns-query/") == 1
    browser.open("/profiles")
    assert "Edison’s laptops" in browser.text and "https://SERVER" not in browser.text
    browser.send("/profiles/1/end", {})
    assert "Ended" in browser.text and "/profiles/1/end" not in browser.text
