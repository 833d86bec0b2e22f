"""From a decision to every node's acknowledgement, over real HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import zstandard
from httpx_sse import aconnect_sse

from blocklists import signature
from blocklists.base import Base
from blocklists.decide import decide
from blocklists.exchange import Offer
from blocklists.policy import Action
from blocklists.snapshot import open_snapshot
from portal.access import SYSTEM
from portal.database import reading, sole_pass, transaction
from portal.models.delivery import Node
from portal.models.levers import GrantRow
from portal.nodes import delivery, enrolment, publication, reports
from portal.nodes.delivery import InForce, Standing
from portal.people.sessions import hash_secret
from tests.portal.gatehouse import FakeNode, Served, config_in, founded, free_port, grant, revoke, serving, tags, token


@pytest.fixture
def served(tmp_path: Path):  # type: ignore[no-untyped-def]
    config = config_in(tmp_path, free_port())
    engine = founded(config)
    with serving(config, engine) as portal:
        yield portal
    engine.dispose()


def node_of(served: Served, name: str = "edison-1", sites: tuple[str, ...] = ()) -> FakeNode:
    secret = token(served.wired.config, served.wired.engine, time.time())
    return FakeNode.enrolled(served.url, secret, name, sites)


def standing(served: Served, number: int, now: float | None = None) -> InForce:
    with reading(served.wired.engine) as session:
        row = session.get(GrantRow, number)
        assert row is not None
        return delivery.in_force(session, row, time.time() if now is None else now)


def holding(served: Served, offers: Iterator[Offer], *numbers: int) -> Offer:
    """Return the first offer that holds all of these grants: each may have been published by itself."""
    while True:
        offer = next(offers)
        with reading(served.wired.engine) as session:
            versions = [session.get_one(GrantRow, number).in_version for number in numbers]
        if all(version is not None and version <= offer.version for version in versions):
            return offer


def ack(client: httpx.Client, offer: Offer, digest: str = "") -> httpx.Response:
    return client.post("/acks", json={"version": offer.version, "digest": digest or offer.digest})


def test_a_node_enrols_is_offered_fetches_verifies_and_acknowledges(served: Served) -> None:
    node = node_of(served)
    with node.client() as client:
        offer = next(node.offers(client))
        body = client.get(f"/objects/{offer.digest}").content
        signature.verify(body, offer.signature, bytes.fromhex(node.public_key))
        assert signature.digest(body) == offer.digest
        base = client.get(f"/objects/{offer.base}").content
        assert hashlib.sha256(base).hexdigest() == offer.base
        snapshot = open_snapshot(body, Base(memoryview(base), offer.base))
        assert decide("www.instagram.com", snapshot.rules("edison/students"), time.time()).action is Action.BLOCK
        assert ack(client, offer).status_code == 204
    with reading(served.wired.engine) as session:
        (view,) = delivery.node_views(session)
    assert (view.offered, view.acked, view.behind) == (offer.version, offer.version, False)


def test_objects_come_compressed_against_what_is_held_and_from_where_they_were_cut(served: Served) -> None:
    node = node_of(served)
    accept = {"Accept": "application/zstd"}
    with node.client() as client:
        offers = node.offers(client)
        first = next(offers)
        grant(served.wired.engine, at=time.time())
        served.wired.jobs.wake()
        second = next(offers)
        old, new = (client.get(f"/objects/{one.digest}").content for one in (first, second))
        small = client.get(f"/objects/{second.digest}", params={"against": first.digest}, headers=accept)
        assert small.headers["Content-Type"] == "application/zstd" and small.headers["Dictionary"] == first.digest
        words = zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        assert zstandard.ZstdDecompressor(dict_data=words).decompress(small.content) == new
        alone = client.get(f"/objects/{second.digest}", params={"against": "0" * 64}, headers=accept)
        assert "Dictionary" not in alone.headers and zstandard.decompress(alone.content) == new
        assert len(small.content) < len(alone.content) / 2
        whole = client.get(f"/objects/{first.base}", headers=accept)
        ranged = {**accept, "Range": "bytes=1000-", "If-Range": whole.headers["ETag"]}
        rest = client.get(f"/objects/{first.base}", headers=ranged)
        assert rest.status_code == 206 and rest.content == whole.content[1000:]
        base = zstandard.ZstdDecompressor().stream_reader(whole.content).read()
    assert hashlib.sha256(base).hexdigest() == first.base


def test_a_grant_is_in_force_once_every_node_that_serves_its_sites_has_acknowledged(served: Served) -> None:
    edison = node_of(served, "edison-1", ("edison",))
    tesla = node_of(served, "tesla-1", ("tesla",))
    with edison.client() as one, tesla.client() as two:
        offers = edison.offers(one)
        ack(one, next(offers))
        ack(two, next(tesla.offers(two)))
        everywhere = grant(served.wired.engine, at=time.time())
        here = grant(served.wired.engine, "facebook.com", ("edison",), at=time.time())
        served.wired.jobs.wake()
        offer = holding(served, offers, everywhere, here)
        assert standing(served, everywhere).state is Standing.WAITING
        assert ack(one, offer).status_code == 204
        found = standing(served, everywhere)
        assert (found.state, found.acked, found.expected) == (Standing.PARTLY, 1, 2)
        assert [missing.name for missing in found.waiting_for] == ["tesla-1"]
        found = standing(served, here)
        assert (found.state, found.acked, found.expected) == (Standing.IN_FORCE, 1, 1)
        assert found.millis is not None
        assert ack(two, next(tesla.offers(two))).status_code == 204
        found = standing(served, everywhere)
        assert found.state is Standing.IN_FORCE and found.complete and found.millis is not None

        revoke(served.wired.engine, everywhere, time.time())
        assert standing(served, everywhere).state is Standing.REVOKED
        assert not standing(served, everywhere).complete
        served.wired.jobs.wake()
        ack(one, next(offers))
        ack(two, next(tesla.offers(two)))
        found = standing(served, everywhere)
        assert found.state is Standing.REVOKED and found.complete and found.millis is not None


def test_scheduled_ended_and_nowhere_are_said(served: Served) -> None:
    now = time.time()
    later = grant(served.wired.engine, starts_at=int(now) + 1000, at=now)
    assert standing(served, later).state is Standing.NO_NODES
    node = node_of(served)
    with node.client() as client:
        served.wired.jobs.wake()
        for offer in node.offers(client):
            ack(client, offer)
            if standing(served, later).complete:
                break
    assert standing(served, later).state is Standing.SCHEDULED
    assert standing(served, later, now + 1001).state is Standing.IN_FORCE
    assert standing(served, later, 4_000_000_000).state is Standing.ENDED


def test_an_ack_counts_once_and_only_for_what_was_offered(served: Served) -> None:
    node, stranger = node_of(served), node_of(served, "tesla-1")
    with node.client() as client, stranger.client() as other:
        offer = next(node.offers(client))
        assert ack(client, offer).status_code == 204
        with reading(served.wired.engine) as session:
            first = reports.find(session, node.number, offer.version)
        assert ack(client, offer).status_code == 204
        with reading(served.wired.engine) as session:
            second = reports.find(session, node.number, offer.version)
        assert first is not None and second is not None and first.acked_at_ms == second.acked_at_ms
        assert ack(other, offer).status_code == 409
        refusal = client.post("/acks", json={"version": offer.version + 9, "digest": offer.digest})
        assert refusal.status_code == 409
        assert refusal.headers["content-type"] == "application/problem+json"
        assert "node.digest.alarm" not in tags(served.wired.engine)


def test_an_ack_with_another_digest_is_refused_and_raises_the_alarm(served: Served) -> None:
    node = node_of(served)
    with node.client() as client:
        offer = next(node.offers(client))
        assert ack(client, offer, "0" * 64).status_code == 409
    assert tags(served.wired.engine)[-1] == "node.digest.alarm"


def test_a_nack_is_kept_with_its_reason_and_audited_once(served: Served) -> None:
    node = node_of(served)
    with node.client() as client:
        offer = next(node.offers(client))
        for _ in range(2):
            body = {"version": offer.version, "digest": offer.digest, "reason": "the disk is full"}
            assert client.post("/nacks", json=body).status_code == 204
    with reading(served.wired.engine) as session:
        (view,) = delivery.node_views(session)
    assert (view.nack_version, view.nack_reason, view.behind) == (offer.version, "the disk is full", True)
    assert tags(served.wired.engine).count("node.policy.refuse") == 1


def test_a_stream_that_comes_back_is_offered_what_it_has_not_acknowledged(served: Served) -> None:
    node = node_of(served)
    with node.client() as client:
        offer = next(node.offers(client))
        assert next(node.offers(client, str(offer.version))) == offer
        ack(client, offer)
        number = grant(served.wired.engine, at=time.time())
        again = node.offers(client, str(offer.version))
        served.wired.jobs.wake()
        assert next(again).version == offer.version + 1
    assert standing(served, number).expected == 1


def test_decisions_that_wait_together_share_one_version(served: Served) -> None:
    node = node_of(served)
    with node.client() as client:
        offers = node.offers(client)
        before = next(offers).version
        with sole_pass(served.wired.engine, publication.LOCK):  # on PostgreSQL each decision wakes every portal at once
            numbers = [grant(served.wired.engine, f"site{index}.example", at=time.time()) for index in range(5)]
        served.wired.jobs.wake()
        next(offers)
    with reading(served.wired.engine) as session:
        versions = {session.get_one(GrantRow, number).in_version for number in numbers}
        asked = delivery.newest_version(session)
    assert asked is not None and versions <= {before + 1, before + 2, None}


def test_only_a_nodes_credential_opens_its_door(served: Served) -> None:
    node = node_of(served)
    for path, method in (("stream", "GET"), ("objects/" + "0" * 64, "GET"), ("acks", "POST"), ("status", "POST")):
        for headers in ({}, {"Authorization": "Bearer sgt_something"}, {"Authorization": "Basic abc"}):
            answer = httpx.request(method, f"{served.url}/api/v1/node/{path}", headers=headers)
            assert answer.status_code == 401, (path, headers)
            assert answer.headers["www-authenticate"] == "Bearer"
    with node.client() as client:
        assert client.get("/objects/" + "0" * 64).status_code == 404
        assert client.get("/objects/nonsense").status_code == 422


def test_a_retired_node_is_cut_off_at_once_and_nothing_waits_for_it(served: Served) -> None:
    node, other = node_of(served), node_of(served, "tesla-1")
    with node.client() as client, other.client() as two:
        offers = node.offers(client)
        next(offers)
        ack(two, next(other.offers(two)))
        number = grant(served.wired.engine, at=time.time())
        with transaction(served.wired.engine) as session:
            enrolment.retire(session, SYSTEM, time.time(), node.number, "replaced")
        for _ in offers:  # it ends: the portal finds by itself that the credential is worth nothing any more
            pass
        assert client.get("/stream").status_code == 401
        served.wired.jobs.wake()
        for offer in other.offers(two):
            ack(two, offer)
            if standing(served, number).complete:
                break
    assert standing(served, number).expected == 1


def test_a_token_works_once_for_an_hour_for_this_portal(served: Served) -> None:
    config, engine, now = served.wired.config, served.wired.engine, time.time()
    secret = token(config, engine, now)
    FakeNode.enrolled(served.url, secret)

    def enrol(text: str, **body: object) -> int:
        plain = {"name": "other", "sites": [], "software": "test", **body}
        headers = {"Authorization": f"Bearer {text}"}
        return httpx.post(f"{served.url}/api/v1/node/enroll", json=plain, headers=headers).status_code

    assert enrol(secret) == 403
    assert enrol(token(config, engine, now - 3601)) == 403
    assert enrol(token(config, engine, now).rpartition(".")[0] + "." + "0" * 64) == 403
    assert enrol("sgn_nonsense") == 403
    assert enrol(token(config, engine, now), name="edison-1") == 409
    assert enrol(token(config, engine, now), sites=["atlantis"]) == 422
    assert enrol(token(config, engine, now), unknown=1) == 422
    assert enrol(token(config, engine, now, replaces="edison-1"), name="edison-1") == 201
    with reading(engine) as session:
        views = delivery.node_views(session, retired=True)
    assert [view.name for view in views if view.retired_at is None] == ["edison-1"]
    assert len(views) == 2


def test_a_heartbeat_is_shown_with_the_clocks_skew(served: Served) -> None:
    node = node_of(served)
    with node.client() as client:
        offer = next(node.offers(client))
        body = {
            "version": offer.version,
            "digest": offer.digest,
            "workers": 2,
            "workers_ready": 2,
            "clock": time.time() - 60,
            "queries": 10,
            "blocked": 1,
            "listening": ["127.0.0.1:5300"],
        }
        assert client.post("/status", json=body).json()["expected"] in (0, 1)  # before the first heartbeat, and after
    served.wired.jobs.stop()  # writes what it holds
    with reading(served.wired.engine) as session:
        (view,) = delivery.node_views(session)
    assert view.status is not None and view.status.workers == 2
    assert view.last_seen_at is not None
    assert view.skew_ms is not None and -70_000 < view.skew_ms < -50_000


def test_an_offer_that_was_refused_is_made_again_after_a_while(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.api.node.REOFFER", 0.05)
    node = node_of(served)
    with node.client() as client:
        offers = node.offers(client)
        offer = next(offers)
        body = {"version": offer.version, "digest": offer.digest, "reason": "the disk is full"}
        client.post("/nacks", json=body)
        assert next(offers) == offer
        assert ack(client, offer).status_code == 204


def test_two_hundred_streams_are_all_offered_every_version(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.api.node.REOFFER", 600)  # none of them acknowledges, and the machine may be slow
    engine, url = served.wired.engine, f"{served.url}/api/v1/node/stream"
    with transaction(engine) as session:
        session.add_all(
            Node(name=f"n{index}", credential_hash=hash_secret(f"sgc_{index}"), enrolled_at=0) for index in range(200)
        )
    connected = asyncio.Semaphore(0)

    async def listen(client: httpx.AsyncClient, index: int) -> list[int]:
        seen: list[int] = []
        headers = {"Authorization": f"Bearer sgc_{index}"}
        async with aconnect_sse(client, "GET", url, headers=headers) as source:
            async for event in source.aiter_sse():
                if not event.data:
                    continue  # a heartbeat: once an id was seen, httpx-sse tells a comment as an event
                seen.append(int(event.id))
                connected.release()
                if len(seen) > 1:
                    break
        return seen

    async def run() -> list[list[int]]:
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as client:
            tasks = [asyncio.create_task(listen(client, index)) for index in range(200)]
            for _ in tasks:
                await connected.acquire()
            await asyncio.to_thread(grant, engine, at=time.time())
            served.wired.jobs.wake()
            return await asyncio.gather(*tasks)

    found = asyncio.run(run())
    assert {tuple(seen) for seen in found} == {(1, 2)}
    with reading(engine) as session:
        assert all(view.offered == 2 for view in delivery.node_views(session))


def test_a_quiet_stream_gets_a_comment_and_ends_when_the_portal_stops(served: Served) -> None:
    node = node_of(served)
    with node.client() as client, client.stream("GET", "/stream") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert any(line.startswith(":") for line in lines)
        served.stop()
        assert not any(line.startswith("event") for line in lines)


@pytest.mark.parametrize("path", ["/api/v1/node/stream", "/healthz"])
def test_another_hosts_name_is_answered_421(served: Served, path: str) -> None:
    assert httpx.get(served.url + path, headers={"Host": "evil.example"}).status_code == 421


def test_a_terminated_portal_ends_its_streams_whole(tmp_path: Path) -> None:
    config = config_in(tmp_path, free_port())
    engine = founded(config)
    secret = token(config, engine, time.time())
    program = (
        "import sys, uvicorn; from pathlib import Path; from portal.app import create_app;"
        "from portal.database import connect; from tests.portal.gatehouse import config_in;"
        "config = config_in(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]);"
        "uvicorn.run(create_app(config, connect(config.database)), port=config.port, log_level='warning')"
    )
    command = [sys.executable, "-c", program, str(tmp_path), str(config.port), config.database]
    repository = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=repository, stderr=subprocess.PIPE, text=True) as portal:
        try:
            while True:
                try:
                    httpx.get(f"{config.url}/healthz")
                    break
                except httpx.ConnectError:
                    assert portal.poll() is None
                    time.sleep(0.05)
            node = FakeNode.enrolled(config.url, secret)
            with node.client() as client:
                offers = node.offers(client)
                next(offers)
                portal.terminate()
                assert list(offers) == []  # a stream that is cut raises
            assert portal.stderr is not None
            assert "ASGI" not in portal.stderr.read()
        finally:
            portal.kill()
    engine.dispose()
