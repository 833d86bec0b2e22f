"""Every route for every role, and for nobody: what may be passed is written down here, a row for each route.

A route without a row fails. `may` are the roles that get past the guard (what happens then is the routes' own tests');
everybody else is refused with 403, and nobody with 401 (the API) or the way to the sign-in page.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlmodel import Session

from portal.access import SYSTEM
from portal.app import prepare
from portal.database import transaction
from portal.desk import requests
from portal.desk.tools import ToolDraft
from portal.desk.workflow import Event
from portal.doors import custom_blocks, levers, modes, platforms
from portal.models.delivery import Node
from portal.models.lists import BaseBuild, BuildState
from portal.models.rules import ExceptionKind, OperationalException
from portal.models.words import Role
from portal.people import accounts, sessions
from portal.people.accounts import TokenDraft, UserDraft
from portal.people.sessions import SignedIn, user_actor
from portal.places import profiles
from portal.rules import changes
from portal.rules.rule_book import Line
from tests.portal.gatehouse import Served, config_in, free_port, serving

# o: the teacher who wrote request 1; q: another teacher.
PEOPLE = {
    "o": Role.REQUESTER,
    "q": Role.REQUESTER,
    "r": Role.REVIEWER,
    "a": Role.ADMINISTRATOR,
    "u": Role.AUDITOR,
    "d": Role.DESIGNEE,
}
EVERYBODY, WRITERS, DESK, CHIEF, AUDIT = "oqraud", "oqrad", "rau", "a", "au"
OPEN = "open"  # no account is asked for; under /node, a credential of its own is
TEXT = {"revision": 1, "text": "x"}
GROUP = {"site": "edison", "audience": "staff"}
BLOCK = {"name": "a.example", "sites": ["*"], "audiences": ["staff"], "reason": "x", "review_on": "2020-01-01"}
CHANGE = {"lines": [{"scope": "district/staff", "thing": "category/messaging", "say": "block"}], "reason": "x"}
EXCEPT = BLOCK | {"kind": "safety", "names": ["a.example"]}
del EXCEPT["name"]
FIX = {"name": "a.example", "lists": ["*"], "reason": "", "review_on": "2020-01-01"}


@dataclass(frozen=True)
class Row:
    may: str
    body: Any = None


API = {
    "GET answers": Row(DESK),
    "GET audit": Row(AUDIT),
    "GET blocks": Row(DESK),
    "GET brakes": Row(DESK),
    "GET categories": Row(EVERYBODY),
    "GET corrections": Row(DESK),
    "GET changes": Row(DESK),
    "GET changes/{number}": Row(DESK),
    "GET groups/{site}/{audience}/rules": Row(DESK),
    "PATCH changes/{number}": Row(CHIEF, {"action": "discard", "revision": 9}),
    "POST changes": Row(CHIEF, CHANGE),
    "POST changes/preview": Row(DESK, {"lines": CHANGE["lines"]}),
    "GET exceptions": Row(DESK),
    "PATCH exceptions/{number}": Row(CHIEF, {"review_on": "2020-01-01"}),
    "POST exceptions": Row(CHIEF, EXCEPT),
    "GET evidence": Row(EVERYBODY),
    "GET explain": Row(EVERYBODY),
    "GET grants": Row(EVERYBODY),
    "GET grants/{number}": Row(EVERYBODY),
    "GET groups": Row(DESK),
    "GET groups/{site}/{audience}": Row(DESK),
    "GET lists": Row(EVERYBODY),
    "GET lists/look-up": Row(DESK),
    "GET lists/sources": Row(DESK),
    "GET lists/updates": Row(DESK),
    "PATCH lists/sources/{source}": Row(CHIEF, {}),
    "POST lists/roll-back": Row(CHIEF, {"digest": "0" * 64, "reason": ""}),
    "POST lists/sources": Row(CHIEF, {"id": "-", "title": "", "category": "", "url": "x"}),
    "POST lists/updates/{number}/decision": Row(CHIEF, {"decision": "refuse", "reason": ""}),
    "GET node/objects/{sha256}": Row(OPEN),
    "GET node/stream": Row(OPEN),
    "GET nodes": Row(DESK),
    "GET platforms/{year}": Row(OPEN),
    "GET policy": Row(DESK),
    "GET policy/raw": Row(DESK),
    "GET requests": Row(EVERYBODY),
    "GET requests/{number}": Row("orau"),
    "GET services": Row(EVERYBODY),
    "GET sites": Row(EVERYBODY),
    "GET users": Row(CHIEF),
    "GET users/{number}/sessions": Row(CHIEF),
    "DELETE users/{number}/sessions/{session_id}": Row(""),  # an administrator meets 404: there is no such session
    "PATCH answers": Row(CHIEF, {}),
    "PATCH blocks/{number}": Row(CHIEF, {"action": "end"}),
    "PATCH brakes/{number}": Row(CHIEF, {"released": True}),
    "PATCH categories/{category}": Row(CHIEF, {}),
    "PATCH corrections/{number}": Row("ra", {"action": "end"}),
    "PATCH groups/{site}/{audience}": Row(CHIEF, {"revision": 1}),
    "PATCH services/{service}": Row(CHIEF, {"groups": [], "switch": None}),
    "PATCH sites/{site}": Row(CHIEF, {}),
    "PATCH users/{number}": Row(CHIEF, {"name": "x"}),
    "POST blocks": Row(CHIEF, BLOCK),
    "POST brakes": Row(CHIEF, {"name": "a..b", "reason": ""}),
    "POST categories": Row(CHIEF, {"id": "-", "title": ""}),
    "POST corrections": Row("ra", FIX),
    "POST grants/{number}/revoke": Row("ra", {"reason": ""}),
    "POST groups": Row(CHIEF, GROUP),
    "POST groups/preview": Row(DESK, {"groups": [GROUP]}),
    "PUT node/objects/{sha256}": Row(OPEN),
    "POST node/acks": Row(OPEN),
    "POST node/enroll": Row(OPEN),
    "POST node/nacks": Row(OPEN),
    "POST node/status": Row(OPEN),
    "POST nodes/tokens": Row(CHIEF, {}),
    "POST nodes/{number}/retire": Row(CHIEF, {"reason": ""}),
    "POST requests": Row(WRITERS, {"tools": [], "purpose": ""}),
    "POST requests/{number}/answer": Row("o", TEXT),
    "POST requests/{number}/appeal": Row("o", TEXT),
    "POST requests/{number}/decision": Row("r", {"revision": 1, "decision": "deny", "reason": ""}),
    "POST requests/{number}/renew": Row("o", {"revision": 1}),
    "POST requests/{number}/withdraw": Row("o", TEXT),
    "POST services": Row(CHIEF, {"id": "-", "title": "", "category": "", "kind": "", "names": [], "why": ""}),
    "POST sites": Row(CHIEF, {"id": "-", "name": ""}),
    "POST users": Row(CHIEF, {"email": "", "name": "", "roles": []}),
}

PAGES = {
    "GET /": Row(EVERYBODY),
    "GET /about": Row(OPEN),
    "GET /api/docs": Row(OPEN),
    "GET /api/openapi.json": Row(OPEN),
    "GET /audit": Row(AUDIT),
    "GET /audit.csv": Row(AUDIT),
    "GET /brakes": Row(DESK),
    "GET /district.css": Row(OPEN),
    "GET /logo.png": Row(OPEN),
    "POST /set-up/logo": Row(CHIEF),
    "GET /blocks": Row(DESK),
    "GET /changes": Row(DESK),
    "GET /changes/{number}": Row(DESK),
    "GET /corrections": Row(DESK),
    "GET /exceptions": Row(DESK),
    "POST /blocks": Row(CHIEF),
    "POST /blocks/{number}/end": Row(CHIEF),
    "POST /changes": Row(CHIEF),
    "POST /changes/{number}": Row(CHIEF, {"action": "discard", "revision": "9"}),
    "POST /corrections": Row("ra"),
    "POST /corrections/{number}": Row("ra", {"action": "end"}),
    "POST /exceptions": Row(CHIEF),
    "POST /exceptions/{number}/narrow": Row(CHIEF),
    "POST /exceptions/{number}/review": Row(CHIEF),
    "GET /desk": Row(DESK),
    "GET /desk/events": Row(DESK),
    "GET /desk/{number}": Row(DESK),
    "GET /district": Row(DESK),
    "GET /district.csv": Row(DESK),
    "GET /district/answers": Row(DESK),
    "GET /district/groups/new": Row(CHIEF),
    "GET /district/groups/{key:path}": Row(CHIEF),
    "GET /explain": Row(EVERYBODY),
    "GET /grants": Row(EVERYBODY),
    "GET /grants.csv": Row(EVERYBODY),
    "GET /grants/events": Row(EVERYBODY),
    "GET /grants/{number}": Row(EVERYBODY),
    "GET /grants/{number}/events": Row(EVERYBODY),
    "GET /healthz": Row(OPEN),
    "GET /metrics": Row(DESK),
    "GET /lists": Row(DESK),
    "GET /lists/events": Row(DESK),
    "GET /lists/updates/{number}": Row(DESK),
    "GET /modes": Row(DESK),
    "GET /nodes": Row(DESK),
    "GET /restored": Row(CHIEF),
    "GET /nodes/events": Row(DESK),
    "GET /account": Row(EVERYBODY),
    "GET /sign-in/code": Row(OPEN),
    "POST /account/codes": Row(EVERYBODY),
    "POST /account/sessions": Row(""),  # there is no such session: 404
    "POST /people/second-factor": Row(CHIEF),
    "POST /sign-in/code": Row(OPEN),
    "GET /people": Row(CHIEF),
    "GET /people/import": Row(CHIEF),
    "POST /people/import": Row(CHIEF),
    "GET /people/new": Row(CHIEF),
    "GET /people/{number}": Row(CHIEF),
    "GET /tokens": Row(EVERYBODY),
    "POST /people/new": Row(CHIEF),
    "POST /people/{number}": Row(CHIEF, {"deed": "none"}),
    "POST /tokens": Row(EVERYBODY),
    "POST /tokens/{number}/revoke": Row("oa"),  # number 1 is a teacher's; to others it does not exist
    "GET /platforms": Row(OPEN),
    "GET /platforms/{year}": Row(OPEN),
    "GET /platforms/{year}.csv": Row(OPEN),
    "GET /platforms/{year}/new": Row("d"),
    "GET /platforms/{year}/register": Row("aud"),
    "GET /platforms/{year}/{number}": Row("aud"),
    "POST /platforms/{year}/new": Row("d"),
    "POST /platforms/{year}/register": Row("d", {"action": "carry"}),
    "POST /platforms/{year}/{number}": Row("d", {"action": "publish", "revision": "9"}),
    "GET /readyz": Row(OPEN),
    "GET /requests": Row(EVERYBODY),
    "GET /requests/check": Row(EVERYBODY),
    "GET /requests/events": Row(EVERYBODY),
    "GET /requests/new": Row(WRITERS),
    "GET /requests/{number}": Row("orau"),
    "GET /requests/{number}/events": Row("orau"),
    "GET /services": Row(DESK),
    "GET /services/new": Row(CHIEF),
    "GET /services/{service}": Row(DESK),
    "GET /set-up": Row(DESK),
    "GET /signals": Row(DESK),
    "GET /why": Row(OPEN),
    "GET /traffic": Row(DESK),
    "GET /traffic/events": Row(DESK),
    "GET /set-up/sites": Row(CHIEF),
    "GET /sign-in": Row(OPEN),
    "GET /sign-in/oidc": Row(OPEN),
    "GET /sign-in/oidc/callback": Row(OPEN),
    "POST /account/identity": Row(""),  # there is no provider here: 404
    "POST /brakes": Row(CHIEF),
    "POST /brakes/{number}/release": Row(CHIEF),
    "POST /desk/{number}": Row("r", {"decision": "deny", "revision": "1"}),
    "POST /district/answers": Row(CHIEF),
    "POST /district/groups/{key:path}": Row(CHIEF, GROUP),
    "POST /district/sites": Row(CHIEF),
    "POST /district/chosen": Row(CHIEF, {"groups": "edison/staff", "action": "enforce"}),
    "POST /grants/{number}/revoke": Row("ra"),
    "POST /lists/roll-back": Row(CHIEF),
    "POST /lists/sources": Row(CHIEF),
    "POST /lists/sources/{source}/{deed}": Row(CHIEF),
    "POST /lists/updates/{number}/{deed}": Row(CHIEF),
    "POST /modes": Row(CHIEF),
    "POST /modes/runs/{number}/end": Row(CHIEF),
    "POST /modes/{number}/start": Row(CHIEF),
    "POST /nodes/tokens": Row(CHIEF),
    "GET /profiles": Row(CHIEF),
    "POST /profiles": Row(CHIEF),
    "POST /profiles/{number}/end": Row(CHIEF),
    "POST /nodes/{number}/retire": Row(CHIEF, {"reason": ""}),
    "POST /restored": Row(CHIEF),
    "POST /requests": Row(WRITERS, {"action": "send"}),
    "POST /requests/{number}/{deed}": Row("o", {"revision": "1"}),
    "POST /services": Row(CHIEF),
    "POST /services/{service}": Row(CHIEF),
    "POST /set-up/observed": Row(CHIEF),
    "POST /set-up/settings": Row(CHIEF),
    "POST /set-up/sites": Row(CHIEF),
    "POST /set-up/staff": Row(CHIEF),
    "POST /sign-in": Row(OPEN),
    "POST /sign-in/demo": Row(OPEN),
    "POST /sign-out": Row(EVERYBODY),
}
ROWS = {f"{key.replace(' ', ' /api/v1/', 1)}": row for key, row in API.items()} | PAGES
FILLED = {
    "number": "1",
    "site": "edison",
    "audience": "staff",
    "category": "messaging",
    "service": "instagram",
    "source": "v2fly-doh",
    "key:path": "edison/staff",
    "deed": "withdraw",
    "sha256": "0" * 64,
    "session_id": "0" * 16,
    "year": "2026-27",
}
QUERY = {"name": "a.example", "urls": "a.example", "site": "edison", "audience": "staff", "tool": "a.example"}


def endpoints(app: FastAPI) -> set[str]:
    """Every `METHOD /path` that the application answers, static files left out."""
    found: set[str] = set()

    def walk(routes: Any, prefix: str) -> None:
        for route in routes:
            inner = getattr(route, "original_router", None)
            if inner is not None:
                walk(inner.routes, prefix + route.include_context.prefix)
            else:
                methods = (getattr(route, "methods", None) or set()) - {"HEAD", "OPTIONS"}
                found.update(f"{method} {prefix}{route.path}" for method in methods)

    walk(app.routes, "")
    return found


@dataclass(frozen=True)
class House:
    served: Served
    users: dict[str, int]
    tokens: dict[str, str]
    signed: dict[str, SignedIn] = field(default_factory=dict)

    def session(self, who: str) -> SignedIn:
        """A browser session of this person: the one there is, while it is open."""
        with transaction(self.served.wired.engine) as session:
            if who in self.signed and sessions.resolve(session, self.signed[who].secret, time.time()) is not None:
                return self.signed[who]
            self.signed[who] = sessions.sign_in_demo(session, self.users[who], time.time(), 1, True)
        return self.signed[who]


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=30) as found:
        yield found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A demo district with one of everything, numbered 1, and a person of each kind."""
    config = replace(config_in(tmp_path_factory.mktemp("routes"), free_port()), demo=True)
    engine = prepare(config)
    with serving(config, engine) as served:
        while httpx.get(f"{served.url}/readyz").status_code != 200:
            time.sleep(0.02)
        with transaction(engine) as session:
            users, tokens = furnished(session, served)
        yield House(served, users, tokens)
    engine.dispose()


def furnished(session: Session, served: Served) -> tuple[dict[str, int], dict[str, str]]:
    now = time.time()
    users: dict[str, int] = {}
    tokens: dict[str, str] = {}
    actors = {}
    for key, role in PEOPLE.items():
        draft = UserDraft(f"{key}@riverbend.example", f"Person {key}", (role,))
        user = accounts.create_user(session, SYSTEM, now, draft, "")
        user.demo = True
        users[key], actors[key] = user.id or 0, user_actor(user)
        if key == "o":
            accounts.create_token(session, actors["o"], now, TokenDraft("number 1", role, machine=False))
        tokens[key] = accounts.create_token(session, actors[key], now, TokenDraft("t", role, machine=False)).secret
    catalogue = served.wired.catalogue
    draft = requests.Draft((ToolDraft("pinterest.com"),), "A poster")
    row = requests.submit(session, actors["o"], now, draft)
    assert row.id == 1
    requests.decide(session, actors["r"], now, 1, 1, Event.APPROVE, "", None, catalogue)
    levers.set_brake(session, actors["a"], now, "brake.example", "x")
    tomorrow = (date.today() + timedelta(days=30)).isoformat()
    fix = levers.CorrectionDraft("a.example", "exact", ("*",), "x", tomorrow)
    levers.create_correction(session, actors["r"], now, fix, catalogue)
    block = custom_blocks.BlockDraft("b.example", "exact", ("*",), ("staff",), "x", tomorrow)
    custom_blocks.create(session, actors["a"], now, block)
    profiles.create(session, actors["a"], now, "edison/staff", "x")
    mode = modes.ModeDraft("open", "Fire", ("*",), ("staff",), 5)
    modes.prepare(session, actors["a"], now, mode, catalogue)
    modes.start(session, actors["a"], now, 1, "x")
    changes.draft(session, actors["a"], now, [Line("district/staff", "category/messaging", "block")], "x")
    entry = platforms.Draft("Square", "Notes home", "The office reads along", "automatic")
    platforms.create(session, actors["d"], now, "2026-27", entry, catalogue)
    session.add(BaseBuild(state=BuildState.REFUSED, started_at=int(now), made_at=int(now)))
    session.add(OperationalException(grant_id=1, kind=ExceptionKind.SAFETY, review_on=tomorrow))
    session.add(Node(name="n", credential_hash="x", enrolled_at=int(now)))
    return users, tokens


STRICT = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
}


def is_strict(headers: httpx.Headers) -> bool:
    policy = headers.get("content-security-policy", "")
    strict = "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    private = "no-store" in headers["cache-control"] or "set-cookie" not in headers
    return strict and private and all(headers.get(name) == value for name, value in STRICT.items())


def status(house: House, client: httpx.Client, key: str, who: str | None) -> int:
    """What this person gets for the route of this row, under strict headers; a stream is left after its first word."""
    method, path = key.split(" ", 1)
    filled = house.served.url + re.sub(r"{([^}]+)}", lambda match: FILLED[match[1]], path)
    headers = {"Accept": "text/html"}
    data: Any = None
    body = ROWS[key].body
    client.cookies.clear()
    if path.startswith("/api/v1") or path == "/metrics":
        headers = {} if who is None else {"Authorization": f"Bearer {house.tokens[who]}"}
    elif who is not None:
        signed = house.session(who)
        client.cookies.set(sessions.COOKIE, signed.secret, domain="127.0.0.1")
        data = {**(body or {}), "csrf": signed.csrf}
    given = {"json": body} if path.startswith("/api/v1") and method != "GET" else {"data": data}
    query = QUERY if method == "GET" else None
    with client.stream(method, filled, headers=headers, params=query, **given) as answer:  # type: ignore[arg-type]
        assert is_strict(answer.headers), (key, who, dict(answer.headers))
        if path.endswith("/events") and answer.status_code == 200:  # one that is refused ends without a word
            return 200 if any("event: seen" in text for text in answer.iter_text()) else 403
        return answer.status_code


def test_every_route_has_a_row(house: House) -> None:
    assert endpoints(house.served.app) == set(ROWS)


@pytest.mark.parametrize("who", [None, *PEOPLE])
def test_a_route_lets_those_pass_that_its_row_names_and_nobody_else(
    house: House, client: httpx.Client, who: str | None
) -> None:
    wrong = []
    for key, row in ROWS.items():
        if row.may == OPEN or (who == "a" and key.startswith("PATCH /api/v1/users")):
            continue
        found = status(house, client, key, who)
        passed = found not in (401, 403, 404) and not (who is None and found == 303)
        if passed != (who is not None and who in row.may) or found >= 500:
            wrong.append((key, who, found))
    assert not wrong, wrong


def test_a_form_of_every_route_needs_the_token_of_its_own_session(house: House) -> None:
    with transaction(house.served.wired.engine) as session:
        signed = sessions.sign_in_demo(session, house.users["a"], time.time(), 1, True)
    with httpx.Client(cookies={sessions.COOKIE: signed.secret}, timeout=30) as client:
        for key in ROWS:
            method, path = key.split(" ", 1)
            filled = house.served.url + re.sub(r"{([^}]+)}", lambda match: FILLED[match[1]], path)
            if method != "GET" and "/node/" not in path:
                answer = client.request(method, filled, headers={"X-CSRF-Token": "x" * 43}, json=ROWS[key].body)
                assert answer.status_code == 403, (key, answer.status_code)


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("GET", "/nowhere", {}, 404),
        ("GET", "/api/v1/nowhere", {}, 404),
        ("GET", "/static/style.css", {}, 200),
        ("GET", "/static/nowhere.css", {}, 404),
        ("PUT", "/about", {}, 405),
        ("GET", "/about", {"Host": "evil.example"}, 421),
        ("GET", "/requests/999999999999", {}, 303),
        ("GET", "/sign-in?next=%00", {}, 200),
        ("HEAD", "/sign-in", {}, 200),
        ("OPTIONS", "/api/v1/requests", {}, 405),
    ],
)
def test_errors_carry_the_strict_headers_too(
    house: House, client: httpx.Client, method: str, path: str, headers: dict[str, str], expected: int
) -> None:
    client.cookies.clear()
    answer = client.request(method, f"{house.served.url}{path}", headers=headers)
    assert answer.status_code == expected
    assert is_strict(answer.headers), dict(answer.headers)


FORWARDED = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Port": "1",
    "X-Forwarded-For": "127.0.0.9",
    "Forwarded": "for=127.0.0.9;host=evil.example;proto=https",
    "X-Original-URL": "/people",
    "X-HTTP-Method-Override": "DELETE",
}


def test_nothing_that_a_stranger_says_about_proxies_is_believed(house: House, client: httpx.Client) -> None:
    """No proxy is configured here."""
    client.cookies.clear()
    for path in ("/", "/sign-in", "/people", "/why", "/api/openapi.json", "/about"):
        plain = client.get(f"{house.served.url}{path}")
        told = client.get(f"{house.served.url}{path}", headers=FORWARDED)
        assert (plain.status_code, plain.headers.get("location")) == (told.status_code, told.headers.get("location"))
        assert "evil" not in told.text and "127.0.0.9" not in told.text
        assert "secure" not in told.headers.get("set-cookie", "").lower()
