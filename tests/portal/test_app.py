"""The whole portal put together: a fresh folder, the demo district, the API's routes, sign-in by token, headers."""

from __future__ import annotations

import asyncio
import json
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, delete
from sqlmodel import col, select

from blocklists import signature
from blocklists.base import ListKind
from blocklists.compile import Source, compile_base
from portal.access import Actor, ActorKind
from portal.app import answered_hosts, create_app, prepare
from portal.database import reading, transaction
from portal.lists import builds
from portal.lists.bases import Bases, adopt_base, require_base
from portal.models.audit import AuditEvent
from portal.models.delivery import BaseChunk, BaseFile, Publication
from portal.models.lists import SourceRow
from portal.models.people import User
from portal.models.words import Role
from portal.nodes.keys import signing_key
from portal.people import accounts
from portal.people.accounts import TokenDraft
from tests.portal.gatehouse import NOW, Served, config_in, free_port, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    config = replace(config_in(tmp_path_factory.mktemp("app"), free_port()), demo=True)
    engine = prepare(config)
    with serving(config, engine) as portal:
        while httpx.get(f"{portal.url}/readyz").status_code != 200:
            time.sleep(0.02)
        yield portal
    engine.dispose()


def secret_of(engine: Engine, role: Role) -> str:
    """A person's token with this role, from the demo's accounts."""
    with transaction(engine) as session:
        users = session.exec(select(User).order_by(col(User.id))).all()
        user = next(one for one in users if role in one.roles)
        actor = Actor(ActorKind.USER, user.id or 0, user.name, frozenset(Role(one) for one in user.roles), user.id)
        draft = TokenDraft(name="test", role=role, machine=False)
        return accounts.create_token(session, actor, time.time(), draft).secret


class Api:
    def __init__(self, served: Served, role: Role | None) -> None:
        headers = {} if role is None else {"Authorization": f"Bearer {secret_of(served.wired.engine, role)}"}
        self.client = httpx.Client(base_url=f"{served.url}/api/v1", headers=headers, timeout=30)

    def get(self, path: str, **query: Any) -> Any:
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def administrator(served: Served) -> Iterator[Api]:
    api = Api(served, Role.ADMINISTRATOR)
    yield api
    api.client.close()


@pytest.fixture(scope="module")
def teacher(served: Served) -> Iterator[Api]:
    api = Api(served, Role.REQUESTER)
    yield api
    api.client.close()


def test_a_fresh_folder_becomes_ready_by_itself_and_private(served: Served) -> None:
    data = served.wired.config.data
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "keys" / "signing.pem").stat().st_mode) == 0o600
    assert httpx.get(f"{served.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{served.url}/readyz").json() == {
        "ready": True,
        "database": "ok",
        "base": "ok",
        "policy": "ok",
        "publisher": "ok",
    }
    assert httpx.head(f"{served.url}/readyz").status_code == 200


def test_explain_tells_the_verdict_and_every_step(teacher: Api) -> None:
    found = teacher.get("/explain", name="https://www.instagram.com/x", client="127.0.0.2")
    assert (found["name"], found["group"], found["action"]) == ("www.instagram.com", "edison/students", "block")
    assert found["reason"]["service"] == "instagram"
    assert found["steps"][-1]["decided"] is True
    assert teacher.get("/explain", name="example.com", group="edison/staff")["action"] == "allow"
    led = teacher.get("/explain", name="example.com", group="edison/students", type="HTTPS", answer="www.instagram.com")
    assert (led["action"], led["style"], led["reason"]["service"]) == ("block", "nodata", "instagram")
    assert led["told"].startswith("Social media: how to ask: ")
    assert (led["steps"][-1]["number"], led["steps"][-1]["decided"]) == (9, True)
    refused = teacher.client.get("/explain", params={"name": "a.example", "answer": "1.2.3"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "answer")
    assert teacher.client.get("/explain", params={"name": "a..b"}).json()["errors"][0]["field"] == "name"
    assert teacher.client.get("/explain", params={"name": "a.b", "at": "yesterday"}).status_code == 422
    at = teacher.get("/explain", name="example.com", at="2030-01-01T00:00:00Z")["at"]
    assert at == "2030-01-01T00:00:00Z"


def test_evidence_answers_for_each_of_several_texts(teacher: Api) -> None:
    answer = teacher.client.get("/evidence", params={"urls": ["instagram", "pornhub.com", "10.0.0.1"]})
    service, locked, nothing = answer.json()["tools"]
    assert service["is_blocked"] and service["refusal"] is None and "instagram.com" in service["entries"]
    assert "locked" in locked["refusal"]
    assert nothing["problem"]
    assert teacher.client.get("/evidence").status_code == 422
    assert teacher.client.get("/evidence", params={"urls": ["a.example"] * 21}).status_code == 422


def test_the_policy_is_shown_with_its_signature_and_its_exact_bytes(served: Served, administrator: Api) -> None:
    found = administrator.get("/policy")
    raw = administrator.client.get("/policy/raw")
    assert signature.digest(raw.content) == found["digest"] == raw.headers["etag"].strip('"')
    signature.verify(raw.content, found["signature"], signing_key(served.wired.config.data).public)
    assert found["key"] == served.wired.keys.current.fingerprint
    assert found["counts"]["groups"] == len(json.loads(raw.content)["groups"]) > 0
    assert found["counts"]["listed_names"] > 100


def test_lists_are_those_of_the_base(teacher: Api) -> None:
    found = teacher.get("/lists")
    assert any(one["id"] == "instagram" and one["kind"] == "service" for one in found["lists"])
    assert found["names"] > 100 and len(found["base"]) == 64


def test_nodes_are_enrolled_with_a_token_made_here_and_retired_here(served: Served, administrator: Api) -> None:
    made = administrator.client.post("/nodes/tokens", json={})
    assert made.status_code == 201
    body = {"name": "edison-1", "sites": ["edison"], "software": "test"}
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    enrolled = httpx.post(f"{served.url}/api/v1/node/enroll", json=body, headers=headers).json()
    assert [one["name"] for one in administrator.get("/nodes")["nodes"]] == ["edison-1"]
    refusal = administrator.client.post(f"/nodes/{enrolled['node']}/retire", json={"reason": " "})
    assert (refusal.status_code, refusal.json()["errors"][0]["field"]) == (422, "reason")
    assert administrator.client.post(f"/nodes/{enrolled['node']}/retire", json={"reason": "sold"}).status_code == 200
    assert administrator.client.post(f"/nodes/{enrolled['node']}/retire", json={"reason": "sold"}).status_code == 409
    assert administrator.client.post("/nodes/99999/retire", json={"reason": "sold"}).status_code == 404
    assert administrator.get("/nodes")["nodes"] == []
    assert len(administrator.get("/nodes", retired=True)["nodes"]) == 1


def test_a_nodes_credential_opens_nothing_but_its_door(served: Served, administrator: Api) -> None:
    made = administrator.client.post("/nodes/tokens", json={}).json()["token"]
    body = {"name": "lincoln-1", "sites": [], "software": "test"}
    url = f"{served.url}/api/v1"
    enrolled = httpx.post(f"{url}/node/enroll", json=body, headers={"Authorization": f"Bearer {made}"}).json()
    headers = {"Authorization": f"Bearer {enrolled['credential']}"}
    document = httpx.get(f"{served.url}/api/openapi.json", timeout=60).json()
    anybodys = []
    for path, operations in document["paths"].items():
        if not path.startswith("/api/v1/") or path.startswith("/api/v1/node/"):
            continue
        for method in operations:
            filled = served.url + re.sub(r"\{[^}]*\}", "1", path)
            answer = httpx.request(method.upper(), filled, headers=headers, timeout=60)
            if answer.status_code != 401:  # no more than somebody without any credential
                assert answer.content == httpx.request(method.upper(), filled, timeout=60).content
                anybodys.append((method, path))
    assert anybodys == [("get", "/api/v1/platforms/{year}")]


@pytest.mark.parametrize("path", ["/nodes", "/policy", "/policy/raw"])
def test_a_teacher_does_not_see_the_districts_insides(teacher: Api, path: str) -> None:
    answer = teacher.client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")


def test_only_administrators_make_enrolment_tokens(teacher: Api) -> None:
    assert teacher.client.post("/nodes/tokens", json={}).status_code == 403


def test_the_docs_list_every_route_and_need_nothing_from_elsewhere(served: Served) -> None:
    page = httpx.get(f"{served.url}/api/docs")
    assert page.status_code == 200
    assert "/api/v1/explain" in page.text
    assert "<script" not in page.text and "style=" not in page.text
    assert not re.search(r'(src|href)="https?:', page.text)
    assert httpx.get(f"{served.url}/api/openapi.json", timeout=60).json()["info"]["title"] == "Schoolgate"


def test_static_files_are_kept_when_named_by_their_content(served: Served) -> None:
    assert "immutable" in httpx.get(f"{served.url}/static/style.css?v=1").headers["cache-control"]
    assert httpx.get(f"{served.url}/static/style.css").headers["cache-control"] == "no-cache"
    assert httpx.get(f"{served.url}/static/../app.py").status_code == 404


def test_an_unknown_page_is_a_page_for_people_and_a_problem_for_programs(served: Served) -> None:
    page = httpx.get(f"{served.url}/nowhere", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert httpx.get(f"{served.url}/api/v1/nowhere").headers["content-type"] == "application/problem+json"


def test_the_answered_hosts_are_its_own_address_and_those_of_the_settings(tmp_path: Path) -> None:
    config = replace(config_in(tmp_path), url="https://Gate.example.org:8443/", hosts=("10.1.2.3:80", "[2001:db8::1]"))
    assert answered_hosts(config) == {"gate.example.org", "10.1.2.3", "[2001:db8::1]"}


def test_a_second_start_keeps_what_was_there(tmp_path: Path) -> None:
    config = replace(config_in(tmp_path), demo=True)
    first = prepare(config)
    with reading(first) as session:
        pending = len(session.exec(select(Publication)).all())
    first.dispose()
    second = prepare(config)
    with reading(second) as session:
        assert len(session.exec(select(Publication)).all()) == pending
    second.dispose()


def test_a_base_whose_file_is_gone_gives_way_to_the_shipped_lists_and_the_others_are_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(config_in(tmp_path), demo=True)
    first = prepare(config)
    path = tmp_path / "lists.base"
    path.write_bytes(compile_base([Source("big", "Big", "messaging", ListKind.LIST, ["host.example"])]))
    with transaction(first) as session:
        seed = require_base(session).digest
        adopted = adopt_base(config, session, path, NOW).digest
        own = {"title": "Ours", "category": "messaging", "url": "https://lists.example/x", "created_by": "ada"}
        session.add(SourceRow(id="ours", own=True, enabled=True, created_at=NOW, **own))
        session.flush()
        session.execute(delete(BaseChunk).where(col(BaseChunk.digest) == adopted))  # nor has the database its bytes
    first.dispose()
    Bases(config.data).path(adopted).unlink()
    second = prepare(config)
    with reading(second) as session:
        assert require_base(session).digest == seed
        assert [one.state for one in builds.recent(session)] == ["waiting"]
    assert f"{adopted[:16]} is not there any more" in caplog.text
    second.dispose()


def test_a_publisher_in_trouble_is_not_ready_and_says_why(tmp_path: Path) -> None:
    config = replace(config_in(tmp_path), demo=True)
    engine = prepare(config)
    app = create_app(config, engine)

    async def ready() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=config.url) as client:
            return await client.get("/readyz")

    before = asyncio.run(ready())
    assert before.status_code == 503
    assert before.json()["publisher"] == "not running"
    assert before.json()["policy"] == "nothing published yet"
    with transaction(engine) as session:
        bases = list(session.exec(select(BaseFile)))
    path = app.state.deps.bases.path(bases[0].digest)
    path.write_bytes(b"damaged" * 20)
    jobs = app.state.deps.jobs
    jobs.start()
    while jobs.trouble is None:
        time.sleep(0.01)
    assert "damaged" in asyncio.run(ready()).json()["publisher"]
    jobs.stop()
    with transaction(engine) as session:
        events = session.exec(select(AuditEvent.tag)).all()
    assert events.count("policy.version.refuse") == 1
    engine.dispose()
