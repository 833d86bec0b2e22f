"""The API over HTTP: the contract's shapes, who may call, and errors as problem+json."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from portal.database import transaction
from portal.models.words import Role
from portal.people import accounts, sessions, signing_in
from portal.people.accounts import UserDraft
from portal.people.sessions import Throttle
from tests.portal.frontdesk import NOW, PASSWORDS, Desk, api, bearer

PURPOSE = "Students collect references for their posters."
REQUEST = {"tools": [{"name": "Pinterest", "urls": ["https://www.pinterest.com/ideas/"]}], "purpose": PURPOSE}
GRANT = {
    "entries": [{"name": "pinterest.com", "match": "subtree"}, {"name": "pinimg.com"}],
    "sites": ["edison"],
    "audiences": ["students"],
    "starts_at": "2026-03-04T08:00",
    "ends_at": "2026-03-20",
    "hours": [{"days": [0, 1, 2, 3, 4], "from": "08:00", "to": "15:00"}],
}


@pytest.fixture
def client(desk: Desk) -> Iterator[httpx.Client]:
    with api(desk) as client:
        yield client


@pytest.fixture
def tess(desk: Desk) -> dict[str, str]:
    return bearer(desk, desk.tess, Role.REQUESTER)


@pytest.fixture
def rosa(desk: Desk) -> dict[str, str]:
    return bearer(desk, desk.rosa, Role.REVIEWER)


@pytest.fixture
def amir(desk: Desk) -> dict[str, str]:
    return bearer(desk, desk.amir, Role.ADMINISTRATOR)


def problem(answer: httpx.Response, status: int) -> dict[str, str]:
    """Assert a problem+json answer; return its fields' messages, and its detail under `""`."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    plain = answer.json()
    assert plain["status"] == status
    return {"": plain["detail"]} | {one["field"]: one["message"] for one in plain.get("errors", [])}


def test_a_request_is_written_decided_seen_and_revoked(
    client: httpx.Client, tess: dict[str, str], rosa: dict[str, str]
) -> None:
    made = client.post("/requests", json=REQUEST, headers=tess)
    assert made.status_code == 201, made.text
    request = made.json()
    assert made.headers["location"] == f"/api/v1/requests/{request['id']}"
    assert (request["state"], request["revision"], request["may"]) == ("submitted", 1, ["withdraw"])
    assert (request["audience"], request["sites"]) == (["students", "staff"], ["edison"])
    decision = {"revision": 1, "decision": "approve", "reason": "Fine.", "grant": GRANT}
    decided = client.post(f"/requests/{request['id']}/decision", json=decision, headers=rosa)
    assert decided.status_code == 200, decided.text
    (grant,) = decided.json()["grants"]
    assert grant["status"] == "in window"
    assert (grant["starts_at"], grant["ends_at"]) == ("2026-03-04T14:00:00Z", "2026-03-21T05:00:00Z")
    assert grant["hours"] == [{"days": [0, 1, 2, 3, 4], "from": "08:00", "to": "15:00"}]
    assert client.get(f"/grants/{grant['id']}", headers=tess).json() == grant
    revoked = client.post(f"/grants/{grant['id']}/revoke", json={"reason": "Over."}, headers=rosa)
    assert revoked.json()["status"] == "revoked"
    listed = client.get("/requests", params={"state": "approved"}, headers=tess).json()["requests"]
    assert [one["id"] for one in listed] == [request["id"]]
    renewed = client.post(f"/requests/{request['id']}/renew", json={"revision": 2}, headers=tess)
    assert (renewed.status_code, renewed.json()["renews"]) == (201, request["id"])


def test_a_stale_revision_is_409_and_says_who_did_what(
    desk: Desk, client: httpx.Client, tess: dict[str, str], rosa: dict[str, str]
) -> None:
    number = desk.submit()
    desk.approve(number, actor=desk.ben)
    decision = {"revision": 1, "decision": "deny", "reason": "No."}
    told = problem(client.post(f"/requests/{number}/decision", json=decision, headers=rosa), 409)
    assert told[""] == "Ben Ode approved this at 10:42 CST; reload to see it."
    told = problem(client.post(f"/requests/{number}/withdraw", json={"revision": 2}, headers=tess), 409)
    assert "approved" in told[""]


def test_ask_answer_deny_appeal_withdraw(
    desk: Desk, client: httpx.Client, tess: dict[str, str], rosa: dict[str, str]
) -> None:
    at = f"/requests/{desk.submit()}"
    steps = (
        (rosa, "decision", {"decision": "ask", "reason": "Which class?"}, "asked"),
        (tess, "answer", {"text": "Fourth hour."}, "submitted"),
        (rosa, "decision", {"decision": "not-our-block", "reason": "The site is down."}, "not-our-block"),
        (tess, "appeal", {"text": "It is not."}, "submitted"),
        (rosa, "decision", {"decision": "deny", "reason": "No."}, "denied"),
        (tess, "appeal", {"text": "Please."}, "submitted"),
        (tess, "withdraw", {}, "withdrawn"),
    )
    for revision, (who, route, message, state) in enumerate(steps, 1):
        answer = client.post(f"{at}/{route}", json={"revision": revision, **message}, headers=who)
        assert (answer.status_code, answer.json()["state"]) == (200, state)


def test_errors_name_every_field(client: httpx.Client, desk: Desk, tess: dict[str, str], rosa: dict[str, str]) -> None:
    bad = {"tools": [{"name": "com"}, {"name": "10.0.0.1"}], "purpose": " ", "audience": ["parents"], "sites": ["x"]}
    told = problem(client.post("/requests", json=bad, headers=tess), 422)
    assert set(told) == {"", "tools[0].name", "tools[1].name", "purpose", "audience[0]", "sites[0]"}
    told = problem(client.post("/requests", json={"tools": "x", "why": 1}, headers=tess), 422)
    assert set(told) == {"", "tools", "purpose", "why"}
    problem(client.post("/requests", content=b"{", headers=tess), 422)
    problem(client.post("/requests", content=b'{"purpose": "\\ud800", "tools": []}', headers=tess), 422)
    number = desk.submit()
    wrong = {"revision": 1, "decision": "approve", "grant": {**GRANT, "entries": [{"name": "co.uk"}], "ends_at": "x"}}
    told = problem(client.post(f"/requests/{number}/decision", json=wrong, headers=rosa), 422)
    assert set(told) == {"", "grant.entries[0].name", "grant.ends_at"}
    for path in ("/requests/0", "/requests/99999999999999999999", "/requests/x"):
        problem(client.get(path, headers=tess), 422)
    problem(client.get("/requests/77", headers=tess), 404)
    problem(client.get("/nothing", headers=tess), 404)
    problem(client.put("/requests", headers=tess), 405)


ROUTES = [
    ("GET", "/requests"),
    ("POST", "/requests"),
    ("GET", "/requests/1"),
    ("POST", "/requests/1/decision"),
    ("POST", "/requests/1/answer"),
    ("POST", "/requests/1/withdraw"),
    ("POST", "/requests/1/appeal"),
    ("POST", "/requests/1/renew"),
    ("GET", "/grants"),
    ("GET", "/grants/1"),
    ("POST", "/grants/1/revoke"),
    ("GET", "/sites"),
    ("POST", "/sites"),
    ("PATCH", "/sites/edison"),
    ("GET", "/groups"),
    ("GET", "/groups/edison/staff"),
    ("POST", "/groups"),
    ("PATCH", "/groups/edison/staff"),
    ("POST", "/groups/preview"),
    ("GET", "/categories"),
    ("POST", "/categories"),
    ("PATCH", "/categories/adult"),
    ("GET", "/services"),
    ("PATCH", "/services/instagram"),
    ("GET", "/brakes"),
    ("POST", "/brakes"),
    ("PATCH", "/brakes/1"),
    ("GET", "/corrections"),
    ("POST", "/corrections"),
    ("PATCH", "/corrections/1"),
    ("GET", "/users"),
    ("POST", "/users"),
    ("PATCH", "/users/1"),
    ("GET", "/audit"),
]


def test_nobody_gets_in_without_being_known(client: httpx.Client) -> None:
    strangers = (
        {},
        {"Authorization": "Bearer sgt_x"},
        {"Authorization": "Basic x"},
        {"Cookie": f"{sessions.COOKIE}=x"},
    )
    for method, path in ROUTES:
        for headers in strangers:
            answer = client.request(method, path, json={}, headers=headers)
            problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer", (method, path)


def test_a_browser_needs_its_form_token_for_changes_and_not_for_reading(desk: Desk, client: httpx.Client) -> None:
    with transaction(desk.engine) as session:
        signed_in = sessions.sign_in_demo(session, desk.tess.id, NOW, 12, demo=True)
        other = sessions.sign_in_demo(session, desk.rosa.id, NOW, 12, demo=True)
    cookie = {"Cookie": f"{sessions.COOKIE}={signed_in.secret}"}
    assert client.get("/requests", headers=cookie).status_code == 200
    for extra in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": other.csrf}):
        problem(client.post("/requests", json=REQUEST, headers=cookie | extra), 403)
    made = client.post("/requests", json=REQUEST, headers=cookie | {"X-CSRF-Token": signed_in.csrf})
    assert made.status_code == 201
    # A wrong token never falls back to a right cookie.
    problem(client.get("/requests", headers=cookie | {"Authorization": "Bearer sgt_x"}), 401)


def test_machines_read_and_decide_nothing(desk: Desk, client: httpx.Client) -> None:
    number = desk.submit()
    robot = bearer(desk, desk.amir, Role.REVIEWER, machine=True)
    assert client.get(f"/requests/{number}", headers=robot).json()["may"] == []
    decision = {"revision": 1, "decision": "approve"}
    told = problem(client.post(f"/requests/{number}/decision", json=decision, headers=robot), 403)
    assert "machine" in told[""]
    problem(client.post("/requests", json=REQUEST, headers=robot), 403)


def test_an_administrator_sets_up_the_district(
    client: httpx.Client, amir: dict[str, str], rosa: dict[str, str]
) -> None:
    site = client.post("/sites", json={"id": "carver", "name": "Carver"}, headers=amir)
    assert (site.status_code, site.json()["id"]) == (201, "carver")
    assert client.patch("/sites/carver", json={"level": "middle"}, headers=amir).json()["name"] == "Carver"
    group = {"site": "carver", "audience": "students", "networks": ["10.7.0.0/16"], "blocks": ["social-media"]}
    preview = client.post("/groups/preview", json={"groups": [group]}, headers=amir).json()
    assert preview["changes"] == [
        {"group": "carver/students", "what": "group", "before": "does not exist", "after": "is made"}
    ]
    assert client.post("/groups", json=group, headers=amir).status_code == 201
    patch = {"revision": 1, "services": {"instagram": "allow"}}
    changed = client.patch("/groups/carver/students", json=patch, headers=amir).json()
    assert (changed["services"], changed["blocks"]) == ({"instagram": "allow"}, ["social-media"])
    problem(client.patch("/groups/carver/students", json=patch, headers=amir), 409)
    assert client.get("/groups/carver/students", headers=rosa).json() == changed
    switched = {"groups": ["carver/students"], "switch": None}
    assert client.patch("/services/instagram", json=switched, headers=amir).json()["switches"] == {}
    assert client.post("/categories", json={"id": "games", "title": "Games"}, headers=amir).status_code == 201
    assert client.patch("/categories/games", json={"locked": True}, headers=amir).json()["title"] == "Games"
    problem(client.post("/sites", json={"id": "x", "name": "X"}, headers=rosa), 403)


def test_levers_over_http(
    client: httpx.Client, amir: dict[str, str], rosa: dict[str, str], tess: dict[str, str]
) -> None:
    made = client.post("/brakes", json={"name": "x.example.com", "reason": "Phishing."}, headers=amir).json()
    assert client.get("/brakes", headers=rosa).json()["brakes"] == [made]
    released = client.patch(f"/brakes/{made['id']}", json={"released": True}, headers=amir).json()
    assert released["released_by"] == "Amir Khan"
    correction = {"name": "a.example.org", "lists": ["*"], "reason": "A clinic.", "review_on": "2026-06-01"}
    made = client.post("/corrections", json=correction, headers=rosa).json()
    assert made["waits"]
    confirmed = client.patch(f"/corrections/{made['id']}", json={"action": "confirm"}, headers=amir).json()
    assert (confirmed["waits"], confirmed["confirmed_by"]) == (False, "Amir Khan")
    assert client.get("/corrections", headers=rosa).json()["corrections"] == [confirmed]
    for path in ("/brakes", "/corrections", "/groups", "/users", "/audit"):
        problem(client.get(path, headers=tess), 403)


def test_people_over_http_and_no_hash_ever_leaves(desk: Desk, client: httpx.Client, amir: dict[str, str]) -> None:
    person = {"email": "jo@x.example", "name": "Jo", "roles": ["requester"], "password": "correct horse battery"}
    made = client.post("/users", json=person, headers=amir)
    assert made.status_code == 201, made.text
    at = f"/users/{made.json()['id']}"
    assert client.patch(at, json={"site": "edison", "roles": ["reviewer"]}, headers=amir).json()["site"] == "edison"
    assert client.patch(at, json={"name": "Jo Park"}, headers=amir).json()["site"] == "edison"
    assert client.patch(at, json={"site": None}, headers=amir).json()["site"] is None
    signed_in = signing_in.sign_in(
        desk.engine, PASSWORDS, Throttle(), "jo@x.example", "correct horse battery", NOW, "192.0.2.1", 12
    )
    assert signed_in.actor.roles == {Role.REVIEWER}
    assert client.patch(at, json={"disabled": True}, headers=amir).json()["disabled_at"] is not None
    assert "argon2" not in client.get("/users", headers=amir).text
    problem(client.post("/users", json={**person, "email": "k@x.example", "password": "short"}, headers=amir), 422)
    with transaction(desk.engine) as session:
        accounts.create_user(session, desk.amir, NOW, UserDraft("z@x.example", "Z", ("requester",)), "")


def test_the_audit_over_http(desk: Desk, client: httpx.Client) -> None:
    number = desk.submit()
    ada = bearer(desk, desk.ada, Role.AUDITOR)
    found = client.get("/audit", params={"subject": f"request:{number}"}, headers=ada).json()
    assert [event["tag"] for event in found["events"]] == ["request.request.submit"]
    newest = client.get("/audit", params={"limit": 1}, headers=ada).json()
    assert newest["events"][0]["hash"] == newest["head"]
    older = client.get("/audit", params={"before": newest["events"][0]["id"], "limit": 1}, headers=ada).json()
    assert older["events"][0]["hash"] == newest["events"][0]["previous"]
