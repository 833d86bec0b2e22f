"""The requester's side without a script: the form keeps what was typed, says what is wrong, and the request lives."""

from __future__ import annotations

import pytest

from tests.portal.pages.conftest import SignIn
from tests.portal.pages.gate import Browser

PURPOSE = "Students compare how three museums show the same painting."


@pytest.fixture
def tess(sign_in: SignIn) -> Browser:
    return sign_in("tess")


def ask(browser: Browser, *tools: str, **fields: str) -> int:
    """Send a request; return its number."""
    browser.open("/requests/new")
    browser.send("/requests", {"tool": tools or ("Instagram",), "purpose": PURPOSE, "action": "send", **fields})
    assert browser.page is not None and browser.page.status_code == 200, browser.text
    return int(browser.path().removeprefix("/requests/"))


def test_only_tools_and_purpose_are_required_and_the_rest_is_filled_in(tess: Browser) -> None:
    tess.open("/requests/new")
    form = tess.form("/requests")
    assert form["use"] == ["view"]
    assert form["audiences"] == ["students", "staff"]
    assert form["sites"] == ["edison"]
    assert form["starts_on"] < form["ends_on"]
    assert "Students and Staff at Edison High School" in tess.text
    assert "do not name students" in tess.text
    number = ask(tess)
    assert f"Request № {number}: Instagram" in tess.text
    assert "Waiting for the desk" in tess.text


def test_check_says_what_is_known_of_each_name_and_keeps_what_was_typed(tess: Browser) -> None:
    tess.open("/requests/new")
    tools = ("Instagram", "https://www.youtube.com/watch?v=1", "pornhub.com", "example.com", "nonsense", "1.2.3.4")
    tess.send("/requests", {"tool": tools, "purpose": PURPOSE, "use": "messages", "action": "check"})
    text = tess.text
    assert "Instagram: blocked for everybody. A request can open it." in text
    assert "Category Social media, service Instagram; list instagram holds instagram.com." in text
    assert "www.youtube.com: blocked" in text
    assert "not one page" in text
    assert "pornhub.com: Adult is locked: no request opens it." in text
    assert "example.com: the filter does not block this" in text
    assert "whole address" in text
    assert "IP address" in text
    form = tess.form("/requests")
    assert (form["tool"], form["purpose"], form["use"]) == (list(tools), [PURPOSE], ["messages"])


def test_another_row_is_added_by_reload(tess: Browser) -> None:
    tess.open("/requests/new")
    tess.send("/requests", {"tool": "Instagram", "purpose": PURPOSE, "action": "more"})
    assert tess.form("/requests")["tool"] == ["Instagram", ""]


def test_every_mistake_stands_beside_its_field_and_nothing_is_lost(tess: Browser) -> None:
    tess.open("/requests/new")
    changes = {
        "tool": ("", "youtube.com", "localhost"),
        "purpose": " ",
        "sites": "lincoln",
        "audiences": (),
        "ends_on": "2020-01-01",
        "action": "send",
    }
    page = tess.send("/requests", changes)
    assert page.status_code == 422
    form = tess.form("/requests")
    assert form["tool"] == ["youtube.com", "localhost"]
    assert (form["sites"], form["ends_on"]) == (["lincoln"], ["2020-01-01"])
    markup = page.text
    assert 'href="#f-tools-1"' in markup and 'id="f-tools-1"' in markup
    assert 'href="#f-purpose"' in markup and 'id="f-purpose-wrong"' in markup
    assert 'aria-describedby="f-purpose-hint f-purpose-wrong"' in markup
    assert 'href="#f-ends-on"' in markup
    assert '<details class="fold" open' in markup  # what is folded away is shown when something in it is wrong
    assert "localhost is each computer" in tess.text


def test_an_empty_form_says_what_is_missing(tess: Browser) -> None:
    tess.open("/requests/new")
    assert tess.send("/requests", {"tool": "", "action": "send"}).status_code == 422
    assert "Say which website or app" in tess.text
    assert "Say what students will learn" in tess.text


def test_what_was_typed_is_shown_and_never_run(tess: Browser) -> None:
    evil = '"><script>alert(1)</script>'
    tess.open("/requests/new")
    page = tess.send("/requests", {"tool": evil, "purpose": evil, "action": "check"})
    assert "<script>alert" not in page.text
    assert tess.form("/requests")["purpose"] == [evil]


def test_the_fragment_for_scripts_says_the_same_words(tess: Browser) -> None:
    page = tess.open("/requests/check?tool=Instagram")
    assert "Instagram: blocked for everybody. A request can open it." in tess.text
    assert "<html" not in page.text


def test_messages_with_students_come_with_the_policys_rule(tess: Browser) -> None:
    ask(tess, "Discord", use="messages")
    assert "must include the parent or guardian" in tess.text


def test_the_desk_asks_the_teacher_answers(tess: Browser, sign_in: SignIn) -> None:
    number = ask(tess)
    rosa = sign_in("rosa")
    rosa.open(f"/desk/{number}")
    rosa.send(f"/desk/{number}", {"decision": "ask", "reason": "Which painting?"})
    assert rosa.path() == "/desk"
    tess.open(f"/requests/{number}")
    assert "The desk has a question" in tess.text
    assert "Rosa Diaz asked" in tess.text and "Which painting?" in tess.text
    assert tess.send(f"/requests/{number}/answer", {"text": ""}).status_code == 422
    assert "Write your answer" in tess.text
    tess.send(f"/requests/{number}/answer", {"text": "The Night Watch"})
    assert tess.page is not None and tess.page.status_code == 200
    assert "Waiting for the desk" in tess.text and "The Night Watch" in tess.text


def test_a_denial_is_appealed_and_a_request_withdrawn(tess: Browser, sign_in: SignIn) -> None:
    number = ask(tess, "TikTok")
    rosa = sign_in("rosa")
    rosa.open(f"/desk/{number}")
    rosa.send(f"/desk/{number}", {"decision": "deny", "reason": "Use the media library."})
    tess.open(f"/requests/{number}")
    assert "Denied" in tess.text and "Use the media library." in tess.text
    tess.send(f"/requests/{number}/appeal", {"text": "The library lacks it."})
    assert "Waiting for the desk" in tess.text and "asked for another look" in tess.text
    tess.send(f"/requests/{number}/withdraw")
    assert "Withdrawn" in tess.text


def test_a_stale_form_is_told_who_did_what(tess: Browser, sign_in: SignIn) -> None:
    number = ask(tess)
    rosa = sign_in("rosa")
    rosa.open(f"/desk/{number}")
    rosa.send(f"/desk/{number}", {"decision": "ask", "reason": "Which painting?"})
    assert tess.send(f"/requests/{number}/withdraw", {"text": "Never mind"}).status_code == 409
    assert "Rosa Diaz asked a question about this" in tess.text


def test_an_approved_request_is_renewed_as_a_new_one(tess: Browser, sign_in: SignIn) -> None:
    number = ask(tess)
    rosa = sign_in("rosa")
    rosa.open(f"/desk/{number}")
    rosa.send(f"/desk/{number}", {"decision": "approve"})
    tess.open(f"/requests/{number}")
    tess.send(f"/requests/{number}/renew", {"purpose": "The next unit"})
    assert tess.path() != f"/requests/{number}"
    assert f"request № {number}" in tess.text and "The next unit" in tess.text
    tess.open("/requests")
    assert "The next unit" in tess.text and PURPOSE in tess.text


def test_a_form_that_is_sent_twice_is_one_request(tess: Browser) -> None:
    tess.open("/requests/new")
    form = {"tool": "Instagram", "purpose": PURPOSE, "action": "send"}
    first = tess.page
    tess.send("/requests", form)
    number = tess.path()
    tess.page = first  # the back button
    tess.send("/requests", form)
    assert tess.path() == number
    tess.page = first
    tess.send("/requests", {**form, "purpose": f"{PURPOSE} And a fourth one."})
    assert tess.path() != number


def test_what_was_typed_before_a_session_ended_is_given_back_and_sent_again(tess: Browser) -> None:
    tess.open("/requests/new")
    ours = str(tess.client.base_url).rstrip("/")
    fields = {**tess.form("/requests"), "tool": ["Instagram"], "purpose": [PURPOSE], "action": ["send"]}
    cookies = dict(tess.client.cookies)
    tess.client.cookies.clear()

    def send(**headers: str) -> int:
        tess.page = tess.client.post("/requests", data=fields, headers={"Accept": "text/html", **headers})
        return tess.page.status_code

    assert send(Origin="https://elsewhere.example") == 200 and tess.path() == "/sign-in"  # nothing of it is kept
    assert send(Origin=ours, **{"Sec-Fetch-Site": "cross-site"}) == 200 and tess.path() == "/sign-in"
    assert send(Origin=ours) == 401
    assert "What you typed is still here" in tess.text and PURPOSE in tess.text
    kept = tess.form("/requests")
    assert kept["purpose"] == [PURPOSE] and kept["tool"] == ["Instagram"] and kept["csrf"] == [""]
    tess.client.cookies.update(cookies)  # signed in again, in another tab
    fields = kept
    assert send(Origin="https://elsewhere.example") == 403 and "What you typed" not in tess.text
    assert send(Origin=ours) == 403
    tess.send("/requests")
    assert tess.path().startswith("/requests/") and "Waiting for the desk" in tess.text


def test_too_many_requests_lose_nothing(tess: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.desk.requests.MAX_PER_HOUR", 1)
    ask(tess)
    tess.open("/requests/new")
    tess.client.headers["Origin"] = str(tess.client.base_url).rstrip("/")
    tess.send("/requests", {"tool": "TikTok", "purpose": PURPOSE, "action": "send"})
    assert tess.page is not None and tess.page.status_code == 429
    monkeypatch.undo()
    tess.send("/requests")
    assert "TikTok" in tess.text and "Waiting for the desk" in tess.text
