"""Every page for every role: it comes, or it says why not; and no form counts without its token."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.portal.pages.conftest import SignIn
from tests.portal.pages.gate import Browser

EVERYBODY = {"tess", "rosa", "amir", "ada"}
DESK = {"rosa", "amir", "ada"}

PAGES = {
    "/requests": EVERYBODY,
    "/requests/new": {"tess", "rosa", "amir"},
    "/desk": DESK,
    "/desk?show=all&sort=tool&order=desc": DESK,
    "/grants": EVERYBODY,
    "/grants.csv": EVERYBODY,
    "/explain": EVERYBODY,
    "/explain?name=www.instagram.com&client=127.0.0.2": EVERYBODY,
    "/district": DESK,
    "/district/groups/edison/students": {"amir"},
    "/district/groups/edison/guests": {"amir"},
    "/district/groups/new?site=service-center&audience=students": {"amir"},
    "/profiles": {"amir"},
    "/brakes": DESK,
    "/modes": DESK,
    "/set-up": DESK,
    "/set-up/sites": {"amir"},
    "/nodes": DESK,
    "/people": {"amir"},
    "/people?q=khan&role=administrator&site=service-center&state=active&sort=email&order=desc": {"amir"},
    "/people/new": {"amir"},
    "/people/import": {"amir"},
    "/people/1": {"amir"},
    "/tokens": EVERYBODY,
    "/account": EVERYBODY,
    "/audit": {"amir", "ada"},
    "/audit.csv": {"amir", "ada"},
    "/about": EVERYBODY,
}


@pytest.mark.parametrize("who", sorted(EVERYBODY))
def test_a_page_comes_to_those_whose_work_it_is_and_to_nobody_else(sign_in: SignIn, who: str) -> None:
    browser = sign_in(who)
    for path, allowed in PAGES.items():
        expected = 200 if who in allowed else 403
        answer = browser.open(path)
        assert answer.status_code == expected, (path, browser.text[:300])
        if expected == 403:
            assert "Not allowed" in browser.text


def test_a_visitor_is_led_to_sign_in_and_back(visitor: Callable[[], Browser]) -> None:
    browser = visitor()
    for path in PAGES.keys() - {"/about"}:
        assert browser.open(path).status_code == 200
        assert browser.path() == "/sign-in"
        assert browser.form("/sign-in")["next"] == [path]


def test_each_role_starts_where_its_work_is(sign_in: SignIn) -> None:
    starts = {"tess": "/requests", "rosa": "/desk", "amir": "/district", "ada": "/audit"}
    assert {who: sign_in(who).path() for who in starts} == starts


POSTS = (
    "/requests",
    "/requests/1/withdraw",
    "/desk/1",
    "/grants/1/revoke",
    "/district/sites",
    "/district/groups/edison/students",
    "/brakes",
    "/brakes/1/release",
    "/profiles",
    "/profiles/1/end",
    "/nodes/tokens",
    "/sign-out",
)


def test_a_form_without_the_token_of_its_session_changes_nothing(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    for path in POSTS:
        for token in ("", "x" * 43):
            answer = browser.client.post(path, data={"csrf": token, "action": "send"}, headers={"Accept": "text/html"})
            assert answer.status_code == 403
            assert "too old to be sent" in answer.text


def test_signing_in_needs_the_token_of_its_own_page(visitor: Callable[[], Browser]) -> None:
    browser = visitor()
    browser.open("/sign-in")
    for path in ("/sign-in", "/sign-in/demo"):
        answer = browser.client.post(path, data={"csrf": "guess", "account": "1"}, headers={"Accept": "text/html"})
        assert answer.status_code == 403


def test_a_wrong_password_is_answered_in_words_and_keeps_the_address(visitor: Callable[[], Browser]) -> None:
    browser = visitor()
    browser.open("/sign-in")
    answer = browser.send("/sign-in", {"email": "nobody@riverbend.example", "password": "guess"})
    assert answer.status_code == 403
    assert "do not belong together" in browser.text
    assert browser.form("/sign-in")["email"] == ["nobody@riverbend.example"]
    assert "guess" not in answer.text


def test_signing_in_leads_nowhere_else(visitor: Callable[[], Browser]) -> None:
    for wanted in ("//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/\t/evil"):
        browser = visitor()
        browser.open("/sign-in")
        browser.client.follow_redirects = False
        answer = browser.send("/sign-in/demo", {"account": "1", "next": wanted})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_signing_out_ends_the_session(sign_in: SignIn) -> None:
    browser = sign_in("tess")
    cookies = dict(browser.client.cookies)
    browser.send("/sign-out")
    assert browser.path() == "/sign-in"
    browser.client.cookies.update(cookies)
    browser.open("/requests")
    assert browser.path() == "/sign-in"


def test_what_is_not_there_is_a_kind_page(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    for path in ("/nowhere", "/requests/999", "/desk/999", "/grants/999", "/district/groups/x/y"):
        assert browser.open(path).status_code == 404
        assert "Not found" in browser.text
        assert "Start page" in browser.text


def test_another_teachers_request_does_not_exist(sign_in: SignIn) -> None:
    amir, tess = sign_in("amir"), sign_in("tess")
    amir.open("/requests/new")
    amir.send("/requests", {"tool": "instagram.com", "purpose": "A poster", "action": "send"})
    assert tess.open(amir.path()).status_code == 404


def test_no_page_has_inline_script_or_style(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    for path in PAGES:
        markup = browser.open(path).text if ".csv" not in path else ""
        assert " style=" not in markup
        assert "<style" not in markup
        assert "<script>" not in markup
        assert " onclick=" not in markup


@pytest.mark.parametrize(
    "path", ["/requests/{}", "/desk/{}", "/desk?before={}", "/grants/{}", "/grants?before={}", "/audit?before={}"]
)
def test_a_number_that_no_database_holds_is_refused(sign_in: SignIn, path: str) -> None:
    browser = sign_in("amir")
    for number in (2**31, 10**30):
        assert browser.open(path.format(number)).status_code == 422


@pytest.mark.parametrize("wanted", ["//[", "http://[", "//[x]y"])
def test_a_next_page_that_is_no_address_is_the_first_page(visitor: Callable[[], Browser], wanted: str) -> None:
    browser = visitor()
    assert browser.open(f"/sign-in?next={wanted}").status_code == 200
    assert browser.form("/sign-in")["next"] == ["/"]
