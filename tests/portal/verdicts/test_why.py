"""Why was this blocked? Anybody may look, at little; the code carries name and place into a request."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import httpx
import pytest
from sqlmodel import select

from blocklists.returned import Returned
from portal.app import prepare
from portal.database import reading, transaction
from portal.models.people import User
from portal.models.sight import BlockedCode
from portal.people import sessions
from portal.verdicts import why
from portal.verdicts.why import LENGTH, Pace, code_of
from tests.portal.gatehouse import Served, config_in, free_port, serving
from tests.resolver.fake_portal import until


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    config = replace(config_in(tmp_path_factory.mktemp("why"), free_port()), demo=True)
    engine = prepare(config)
    with serving(config, engine) as portal:
        until(lambda: httpx.get(f"{portal.url}/readyz").status_code == 200)
        yield portal
    engine.dispose()


@pytest.fixture(autouse=True)
def unhurried(served: Served) -> None:
    served.wired.pace._seen.clear()


def look(served: Served, name: str, group: str = "") -> httpx.Response:
    return httpx.get(f"{served.url}/why", params={"name": name, "group": group})


def test_a_blocked_name_is_explained_to_anybody_with_what_to_do(served: Served) -> None:
    page = look(served, "https://www.instagram.com/reel/1", "edison/students").text
    assert "www.instagram.com is blocked for students at Edison High School" in page
    for words in ("Instagram", "social media", "If you are a student", "If you work here", "policy 4414"):
        assert words in page
    assert "Request access" in page
    assert re.search(r'id="code">[2-9A-Z]{3} [2-9A-Z]{3}<', page)


def test_the_code_carries_name_and_place_into_the_request_form(served: Served) -> None:
    page = look(served, "www.instagram.com", "lincoln/students").text
    spaced = re.search(r'id="code">([^<]+)<', page)
    assert spaced is not None
    with transaction(served.wired.engine) as session:
        teacher = session.exec(select(User).where(User.email.startswith("tess"))).one()  # type: ignore[attr-defined]
        signed = sessions.sign_in_demo(session, teacher.id or 0, time.time(), 1, True)
    with httpx.Client(cookies={sessions.COOKIE: signed.secret}) as client:
        form = client.get(f"{served.url}/requests/new", params={"code": spaced[1].lower()}).text
        assert 'value="www.instagram.com"' in form
        assert re.search(r'value="lincoln"[^>]* checked', form)
        assert not re.search(r'value="edison"[^>]* checked', form)
        assert "This code is not known" in client.get(f"{served.url}/requests/new?code=ZZZZZZ").text


def test_one_name_at_one_place_has_one_code_and_a_locked_name_none(served: Served) -> None:
    for _ in range(2):
        look(served, "tiktok.com", "edison/students")
    locked = look(served, "pornhub.com", "edison/students").text
    assert "no request opens it" in locked and "Request access" not in locked
    with reading(served.wired.engine) as session:
        assert len(session.exec(select(BlockedCode).where(BlockedCode.name == "tiktok.com")).all()) == 1
        assert session.exec(select(BlockedCode).where(BlockedCode.name == "pornhub.com")).all() == []


def test_what_is_not_blocked_is_said_and_gets_no_code(served: Served) -> None:
    page = look(served, "example.org", "edison/students").text
    assert "example.org is not blocked" in page and 'id="code"' not in page


def test_no_group_is_told_that_was_not_asked_for(served: Served) -> None:
    unknown, nobody = (look(served, "www.instagram.com", group).text for group in ("no/such", ""))
    assert unknown == nobody
    main = nobody.split("<main")[1]
    assert "Edison" not in main and "lincoln" not in main


def test_a_name_that_cannot_be_is_a_mistake_in_words(served: Served) -> None:
    answer = look(served, "<script>")
    assert answer.status_code == 422 and "<script>" not in answer.text.split("<main")[1]


def test_too_many_looks_from_one_address_wait(served: Served) -> None:
    answers = [look(served, "example.org") for _ in range(31)]
    assert [one.status_code for one in answers].count(429) == 1
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 61
    assert httpx.get(f"{served.url}/why").status_code == 200


def test_a_name_that_leads_to_a_blocked_one_or_to_a_private_address_says_so(served: Served) -> None:
    says = {
        "cloaked.example": Returned(("www.instagram.com",), 1),
        "rebind.example": Returned(private=True),
    }
    wired = served.wired
    served.app.state.deps = replace(wired, look_up=lambda name, rtype: says.get(name))
    try:
        cloaked, rebind, other = (look(served, name, "edison/students").text for name in (*says, "example.org"))
    finally:
        served.app.state.deps = wired
    assert "cloaked.example is blocked for students at Edison High School" in cloaked
    assert "It is not listed itself: it leads to instagram.com, which is." in cloaked
    assert "Its answer leads to a private address" in rebind
    assert "No request opens this" in rebind and "Request access" not in rebind
    assert "example.org is not blocked" in other


def test_a_pace_is_per_address_and_begins_again() -> None:
    pace = Pace(most=2)
    assert [pace.wait("a", 100.0) for _ in range(3)] == [0, 0, 61]
    assert pace.wait("b", 100.0) == 0
    assert pace.wait("a", 161.0) == 0
    pace.KEPT = 3
    for number in range(20):
        pace.wait(str(number), 200.0)
    assert len(pace._seen) == 3


def test_codes_that_collide_grow_and_old_ones_are_forgotten(served: Served) -> None:
    now = time.time()
    with transaction(served.wired.engine) as session:
        short = code_of("a.example", "x/y")
        assert len(short) == LENGTH
        session.add(BlockedCode(code=short, name="other.example", group="", made_at=int(now)))
        session.flush()
        longer = why.make_code(session, "a.example", "x/y", now)
        assert longer.startswith(short) and len(longer) == LENGTH + 2
        assert why.read_code(session, f" {longer[:3].lower()}-{longer[3:]} ") == ("a.example", "x/y")
        why.make_code(session, "b.example", "", now + why.KEEP + 2)
        assert why.read_code(session, longer) is None
