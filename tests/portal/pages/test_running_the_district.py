"""The administrator's and the auditor's pages without a script: groups, brakes, resolvers, audit, explain."""

from __future__ import annotations

import csv
import io
import time

import pytest
from sqlmodel import select

from portal.access import SYSTEM
from portal.database import transaction
from portal.models.delivery import Delivery, Node
from portal.nodes import enrolment
from portal.nodes.publication import newest_version
from tests.portal import databases
from tests.portal.gatehouse import FakeNode, Served
from tests.portal.pages.conftest import SignIn
from tests.portal.pages.gate import Browser
from tests.portal.pages.test_asking import ask


@pytest.fixture
def amir(sign_in: SignIn) -> Browser:
    return sign_in("amir")


def test_a_change_is_previewed_before_it_is_published(amir: Browser) -> None:
    group = "/district/groups/lincoln/students"
    amir.open(group)
    blocks = [one for one in amir.form(group)["blocks"] if one != "messaging"]
    changes = {"blocks": blocks, "service:youtube": "allow", "action": "preview"}
    page = amir.send(group, changes)
    assert "What this changes" in amir.text and "Nothing is published yet" in amir.text
    assert "Students at Lincoln Middle School Category Messaging blocked allowed" in amir.text.replace(
        "category", "Category"
    )
    assert "YouTube as its category allowed" in amir.text
    assert "Guests at Lincoln Middle School" in amir.text  # they take the students' blocks
    assert 'name="action" value="publish"' in page.text
    amir.send(group, {"action": "publish"})
    assert amir.path() == "/district"
    amir.open(group)
    assert amir.form(group)["blocks"] == blocks
    assert amir.form(group)["service:youtube"] == ["allow"]
    amir.send(group, {"action": "preview"})
    assert "This changes nothing" in amir.text


def test_wrong_networks_are_named_and_kept(amir: Browser) -> None:
    group = "/district/groups/lincoln/students"
    for action in ("preview", "publish"):
        amir.open(group)
        page = amir.send(group, {"networks": "10.20.1.5/16\n127.0.0.3/32\nfoo", "action": action})
        assert page.status_code == 422
        assert "did you mean 10.20.0.0/16?" in amir.text and "'foo' is not a network" in amir.text
        assert "edison/staff" in amir.text
        assert amir.form(group)["networks"] == ["10.20.1.5/16\n127.0.0.3/32\nfoo"]


def test_of_two_administrators_the_second_is_told(amir: Browser, sign_in: SignIn) -> None:
    group = "/district/groups/lincoln/students"
    other = sign_in("amir")
    for browser in (amir, other):
        browser.open(group)
    amir.send(group, {"networks": "127.0.0.12/32 10.9.0.0/16", "action": "publish"})
    page = other.send(group, {"networks": "10.8.0.0/16", "action": "publish"})
    assert page.status_code == 409
    assert "Amir Khan changed lincoln/students in the meantime" in other.text
    assert other.form(group)["networks"] == ["10.8.0.0/16"]


def test_guests_follow_the_students(amir: Browser) -> None:
    amir.open("/district/groups/lincoln/guests")
    assert "Guests take the students' blocks. Change them at lincoln/students." in amir.text
    assert "blocks" not in amir.form("/district/groups/lincoln/guests")


def test_a_site_and_a_group_are_added(amir: Browser) -> None:
    amir.open("/district")
    assert amir.send("/district/sites", {"name": "Rivera Elementary", "id": "Rivera!"}).status_code == 422
    assert "small letters, digits and hyphens" in amir.text
    assert amir.form("/district/sites")["name"] == ["Rivera Elementary"]
    amir.send("/district/sites", {"name": "Rivera Elementary", "id": "rivera", "level": "elementary"})
    new = "/district/groups/new"
    amir.open(f"{new}?site=rivera&audience=students")
    assert "social-media" in amir.form(new)["blocks"]  # a new group begins strict
    amir.send(new, {"networks": "10.30.0.0/16", "action": "publish"})
    assert "Rivera Elementary" in amir.text and "10.30.0.0/16" in amir.text
    assert amir.open(f"{new}?site=nowhere&audience=students").status_code == 422


def test_a_brake_is_set_with_a_reason_and_released(amir: Browser) -> None:
    amir.open("/brakes")
    assert amir.send("/brakes", {"name": "com", "reason": "x"}).status_code == 422
    assert "public suffix" in amir.text
    assert amir.form("/brakes") == {**amir.form("/brakes"), "name": ["com"], "reason": ["x"]}
    amir.send("/brakes", {"name": "https://bad.example/x", "reason": "A threat is going round."})
    assert "bad.example" in amir.text and "Set: blocked for everybody" in amir.text
    assert amir.send("/brakes", {"name": "bad.example", "reason": "Again"}).status_code == 409
    amir.open("/brakes")
    amir.send("/brakes/1/release")
    assert "Released" in amir.text


def test_an_enrolment_token_is_shown_once(amir: Browser) -> None:
    amir.open("/nodes")
    assert "No resolver is enrolled" in amir.text
    amir.send("/nodes/tokens")
    assert "sgn_" in amir.text and "shown once" in amir.text
    amir.open("/nodes")
    assert "sgn_" not in amir.text


def test_a_resolver_is_retired_with_a_reason_and_alerts_say_what_is_wrong(amir: Browser, portal: Served) -> None:
    engine, now = portal.wired.engine, time.time()
    with transaction(engine) as session:
        fingerprint = portal.wired.keys.current.fingerprint
        secrets = [enrolment.create_enrolment_token(session, SYSTEM, now, fingerprint) for _ in range(2)]
    for secret, name in zip(secrets, ("edison-1", "tesla-1"), strict=True):
        FakeNode.enrolled(portal.url, secret, name)
    with transaction(engine) as session:
        first, second = session.exec(select(Node).order_by(Node.id)).all()  # type: ignore[arg-type]
        first.last_seen_at = second.last_seen_at = int(now)
        version = newest_version(session)
        assert version is not None
        version.published_at_ms = int(now - 300) * 1000
        second.skew_ms = 45_000
        session.add(Delivery(node_id=second.id or 0, version=version.version, offered_at_ms=0, acked_at_ms=1))
        session.add_all([first, second, version])
    amir.open("/nodes")
    assert "Behind for 5 min" in amir.text and "Its clock is wrong" in amir.text and "45" in amir.text
    action = f"/nodes/{first.id}/retire"
    assert amir.send(action, {"reason": " "}).status_code == 422
    amir.open("/nodes")
    amir.send(action, {"reason": "The building is closed."})
    assert "edison-1" not in amir.text and "tesla-1" in amir.text


def test_the_desk_looks_and_changes_nothing(sign_in: SignIn) -> None:
    rosa = sign_in("rosa")
    for path, action in (("/district", "/district/sites"), ("/brakes", "/brakes"), ("/nodes", "/nodes/tokens")):
        rosa.open(path)
        with pytest.raises(AssertionError, match="no form"):
            rosa.form(action)
        token = rosa.form("/sign-out")["csrf"][0]
        fields = {"csrf": token, "name": "x", "id": "x", "reason": "x"}
        assert rosa.client.post(action, data=fields, headers={"Accept": "text/html"}).status_code == 403


def test_the_audit_says_who_did_what_and_that_the_chain_is_whole(amir: Browser, sign_in: SignIn) -> None:
    number = ask(sign_in("tess"))
    amir.open("/audit?tag=request.")
    assert "The chain is whole" in amir.text
    assert "Tess Okafor" in amir.text and f"request:{number}" in amir.text and "request.request.submit" in amir.text
    amir.open("/audit?who=rosa&subject=nothing")
    assert "No event fits" in amir.text
    rows = list(csv.DictReader(io.StringIO(amir.open("/audit.csv?tag=request.").text)))
    assert [(row["tag"], row["name"]) for row in rows] == [("request.request.submit", "Tess Okafor")]
    assert rows[0]["hash"]


def test_the_audit_page_shows_where_the_chain_breaks(amir: Browser, portal: Served) -> None:
    databases.tamper(portal.wired.engine, "UPDATE audit_event SET actor_name = 'Somebody else' WHERE id = 2")
    amir.open("/audit")
    assert "The chain is broken" in amir.text
    assert "Row 2: it was altered after it was written" in amir.text
    assert "Broken here" in amir.text


def test_explain_shows_every_step_and_the_rule(amir: Browser) -> None:
    amir.open("/explain?name=https://www.tiktok.com/@x&client=127.0.0.2")
    assert "www.tiktok.com: Blocked for students at Edison High School" in amir.text
    assert "1 Brake" in amir.text and "7 Categories and services decided" in amir.text
    assert "NXDOMAIN" in amir.text
    amir.open("/explain?name=example.com&group=edison/staff")
    assert "example.com: Allowed for staff at Edison High School" in amir.text
    amir.open("/explain?name=example.com&group=edison/staff&answer=cdn.example,%20192.168.1.1")
    assert "example.com: Blocked for staff at Edison High School" in amir.text
    assert "a public name whose answer holds a private address" in amir.text
    assert "9 What comes back decided" in amir.text and "Devices are told Private address: how to ask" in amir.text
    for query in (
        "name=example.com&answer=1.2.3",
        "name=1.2.3.4",
        "name=example.com&client=zz",
        "name=example.com&group=nowhere",
    ):
        assert amir.open(f"/explain?{query}").status_code == 422


def test_a_fault_of_ours_has_a_number_and_says_nothing_of_its_inside(
    amir: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("portal.doors.levers.brakes", broken)
    page = amir.open("/brakes")
    assert page.status_code == 500
    assert "This is our mistake" in amir.text and "number" in amir.text
    assert "secret of the inside" not in page.text and "RuntimeError" not in page.text
    assert "Amir Khan" in amir.text  # the frame is there: the way on is one click


def test_an_error_page_comes_out_without_the_database(amir: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise OSError("no database")

    monkeypatch.setattr("portal.database.reading", gone)
    page = amir.open("/brakes")
    assert page.status_code == 500
    assert "This is our mistake" in amir.text
