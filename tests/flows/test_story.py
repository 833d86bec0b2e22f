"""A teacher asks, the desk says yes, the resolver answers: over real sockets, with `schoolgate up --demo`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.edns
import dns.rcode
import dns.rdatatype
import httpx
import pytest

from tests.accounts import ADMINISTRATOR, REVIEWER, TEACHER
from tests.flows.district import (
    GUESTS,
    NOBODYS,
    STAFF,
    STUDENTS,
    District,
    command,
    district,
    free_port,
    until,
)
from tests.flows.upstream import ADDRESS, World, world


@pytest.fixture(scope="module")
def outside() -> Iterator[tuple[int, World]]:
    port = free_port()
    with world(port) as found:
        yield port, found


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory, outside: tuple[int, World]) -> Iterator[District]:
    with district(tmp_path_factory.mktemp("school"), outside[0]) as made:
        yield made


@pytest.fixture(scope="module")
def teacher(school: District) -> Iterator[httpx.Client]:
    with school.client(TEACHER, "requester") as client:
        yield client


@pytest.fixture(scope="module")
def reviewer(school: District) -> Iterator[httpx.Client]:
    with school.client(REVIEWER, "reviewer") as client:
        yield client


def _write(teacher: httpx.Client, tool: str, **more: Any) -> dict[str, Any]:
    message = {"tools": [{"name": tool}], "purpose": "Photo essay on the river", **more}
    answer = teacher.post("/requests", json=message)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _approve(reviewer: httpx.Client, request: dict[str, Any], **grant: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"revision": request["revision"], "decision": "approve", "reason": "Fits the unit"}
    if grant:
        body["grant"] = grant
    answer = reviewer.post(f"/requests/{request['id']}/decision", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _local(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
def test_a_blocked_name_says_that_it_is_blocked_why_and_where_to_ask(school: District, tcp: bool) -> None:
    reply = school.ask("www.instagram.com", tcp=tcp)
    assert reply.rcode() == dns.rcode.NXDOMAIN
    (soa,) = reply.authority
    assert soa.rdtype == dns.rdatatype.SOA
    assert (str(soa.name), soa.ttl, soa[0].minimum) == ("instagram.com.", 10, 10)
    (ede,) = [option for option in reply.options if isinstance(option, dns.edns.EDEOption)]
    assert ede.code == 15
    assert "Social media" in ede.text
    assert school.url in ede.text


def test_other_names_are_forwarded_once_and_then_cached(school: District, outside: tuple[int, World]) -> None:
    first, second = school.ask("example.com"), school.ask("example.com")
    assert [str(one.answer[0][0]) for one in (first, second)] == [ADDRESS, ADDRESS]
    assert 0 < second.answer[0].ttl <= 3600
    for _ in range(10):
        school.ask("example.com")
    assert outside[1].asked["example.com"] <= school.workers


def test_a_name_that_only_ends_alike_is_not_blocked(school: District, outside: tuple[int, World]) -> None:
    school.ask("notinstagram.com")
    assert outside[1].asked["notinstagram.com"]


def test_an_approval_opens_for_the_granted_audience_alone_and_a_revocation_closes(
    school: District, teacher: httpx.Client, reviewer: httpx.Client
) -> None:
    request = _write(teacher, "https://www.instagram.com/explore/", audience=["students"], sites=["edison"])
    assert not school.is_open("www.instagram.com", STUDENTS)
    approved = _approve(reviewer, request)
    (grant,) = approved["grants"]
    until(lambda: school.is_open("www.instagram.com", STUDENTS), what="the grant")
    assert school.ask("www.instagram.com", STUDENTS).answer[0].ttl <= 60
    for other in (STAFF, GUESTS, NOBODYS):
        assert not school.is_open("www.instagram.com", other)

    until(lambda: _in_force(reviewer, grant["id"]) == "in-force", what="the acknowledgement")
    said = school.explain("www.instagram.com", STUDENTS)
    assert f"grant {grant['id']}, by request {request['id']}" in said
    assert "<- decides" in said

    revoked = reviewer.post(f"/grants/{grant['id']}/revoke", json={"reason": "The lesson is over"})
    assert revoked.status_code == 200, revoked.text
    until(lambda: not school.is_open("www.instagram.com", STUDENTS), what="the revocation")


def _in_force(reviewer: httpx.Client, grant: int) -> str:
    return str(reviewer.get(f"/grants/{grant}").json()["in_force"]["state"])


def test_a_grant_ends_on_time_with_the_portal_stopped(
    school: District, teacher: httpx.Client, reviewer: httpx.Client
) -> None:
    request = _write(teacher, "pinterest.com")
    start, end = datetime.now(UTC), datetime.now(UTC) + timedelta(seconds=6)
    _approve(
        reviewer,
        request,
        entries=[{"name": "pinterest.com", "match": "subtree"}],
        sites=["edison"],
        audiences=["students"],
        starts_at=_local(start),
        ends_at=_local(end),
    )
    until(lambda: school.is_open("pinterest.com"), what="the grant")
    portal = school.pid_of("portal")
    os.kill(portal, signal.SIGSTOP)  # stopped for everybody who asks it, and not started again
    try:
        while datetime.now(UTC) < end - timedelta(seconds=1):
            assert school.is_open("pinterest.com")
            time.sleep(0.1)
        until(lambda: not school.is_open("pinterest.com"), what="the end of the grant")
        assert datetime.now(UTC) >= end - timedelta(seconds=1)
    finally:
        os.kill(portal, signal.SIGCONT)


def test_an_address_of_no_group_gets_the_strictest_policy(school: District) -> None:
    reply = school.ask("www.tiktok.com", NOBODYS)
    assert reply.rcode() == dns.rcode.NXDOMAIN
    assert "unassigned" in school.explain("www.tiktok.com", NOBODYS)


def test_nobody_decides_their_own_request_and_an_administrator_does_not_decide(
    school: District, reviewer: httpx.Client
) -> None:
    own = _write(reviewer, "tiktok.com")
    body = {"revision": own["revision"], "decision": "approve", "reason": "Mine"}
    assert reviewer.post(f"/requests/{own['id']}/decision", json=body).status_code == 403
    with school.client(ADMINISTRATOR, "administrator") as administrator:
        assert administrator.post(f"/requests/{own['id']}/decision", json=body).status_code == 403


def test_the_second_reviewer_is_told_who_was_faster(
    school: District, teacher: httpx.Client, reviewer: httpx.Client
) -> None:
    request = _write(teacher, "tiktok.com")
    body = {"revision": request["revision"], "decision": "deny", "reason": "Not for this unit"}
    assert reviewer.post(f"/requests/{request['id']}/decision", json=body).status_code == 200
    late = reviewer.post(f"/requests/{request['id']}/decision", json=body)
    assert late.status_code == 409
    assert late.headers["content-type"].startswith("application/problem+json")
    assert "Rosa Diaz" in late.json()["detail"]


def test_the_audit_trail_names_every_step_and_its_chain_holds(school: District, reviewer: httpx.Client) -> None:
    lines = command("export", "audit", "--data", str(school.data)).stdout
    for tag in ("request.", "grant.", "node."):
        assert f'"tag": "{tag}' in lines
    verified = command("export", "audit", "--verify", "--data", str(school.data))
    assert "chain whole" in verified.stdout


def test_it_stops_cleanly_and_starts_again_with_what_was_there(tmp_path: Path, outside: tuple[int, World]) -> None:
    with district(tmp_path, outside[0], workers=1) as made:
        with made.client(TEACHER, "requester") as teacher, made.client(REVIEWER, "reviewer") as reviewer:
            _approve(reviewer, _write(teacher, "youtube.com"))
        until(lambda: made.is_open("www.youtube.com"), what="the grant")
        assert made.stop() == 0
        assert "Stopped" in made.said()
        made.start()
        assert made.is_open("www.youtube.com")
        second = command("up", "--demo", "--data", str(made.data), check=False)
        assert second.returncode == 1
        assert "already runs" in second.stderr
        taken = command(
            *("up", "--demo", "--data", str(tmp_path / "other"), "--dns", f"127.0.0.1:{made.dns}"),
            *("--web", f"127.0.0.1:{free_port()}"),
            check=False,
        )
        assert taken.returncode == 1
        assert f"127.0.0.1:{made.dns} is taken by pid" in taken.stderr
        assert "--dns ADDR:PORT" in taken.stderr


def test_a_portal_that_cannot_start_does_not_take_the_gate_with_it(tmp_path: Path, outside: tuple[int, World]) -> None:
    with district(tmp_path, outside[0], workers=1) as made:
        assert made.stop() == 0
        database = made.data / "portal" / "portal.sqlite"
        for log in ("-wal", "-shm"):
            database.with_name(database.name + log).unlink(missing_ok=True)
        with database.open("r+b") as file:
            file.write(b"rubbish " * 1024)
        made.start()
        assert made.ask("www.instagram.com").rcode() == dns.rcode.NXDOMAIN
        assert made.is_open("example.com")
        until(lambda: "file is not a database" in made.said(), what="the reason")
        assert "enforces the last policy" in made.said()
        assert made.stop() == 0
