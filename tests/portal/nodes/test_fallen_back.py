"""A node that acknowledged a version and serves it no longer: pages, figures and "in force" say what is true."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from blocklists.exchange import NodeStatus, Offer
from portal.database import reading, transaction
from portal.models.levers import GrantRow
from portal.nodes import delivery, reports
from portal.nodes.delivery import NodeView, Standing
from portal.nodes.reports import SETTLED_MS, Heartbeat
from tests.portal.gatehouse import FakeNode, Served, config_in, founded, free_port, grant, serving, tags, token


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    config = config_in(tmp_path_factory.mktemp("fallen"), free_port())
    engine = founded(config)
    with serving(config, engine) as portal:
        yield portal
    engine.dispose()


class Fallen:
    """A node that acknowledged two versions, the second one holding `number`, a grant of its own."""

    def __init__(self, served: Served, name: str) -> None:
        self.served = served
        engine = served.wired.engine
        self.node = FakeNode.enrolled(served.url, token(served.wired.config, engine, time.time()), name)
        with self.node.client() as client:
            offers = self.node.offers(client)
            self.first = next(offers)
            self.ack(self.first)
            self.number = grant(engine, f"{name.split()[0].lower()}.example", at=time.time())
            served.wired.wake()
            self.second = next(offers)
            self.ack(self.second)
        assert self.view().acked == self.second.version

    def ack(self, offer: Offer) -> None:
        with self.node.client() as client:
            client.post("/acks", json={"version": offer.version, "digest": offer.digest}).raise_for_status()

    def view(self) -> NodeView:
        with reading(self.served.wired.engine) as session:
            return next(one for one in delivery.node_views(session) if one.id == self.node.number)

    def waits(self) -> bool:
        with reading(self.served.wired.engine) as session:
            found = delivery.in_force(session, session.get_one(GrantRow, self.number), time.time())
        assert found.state is not Standing.IN_FORCE or found.complete
        return self.view().name in {one.name for one in found.waiting_for}

    def says(self, version: int | None, later_ms: int) -> None:
        """A heartbeat, so much later than now."""
        digest = self.first.digest if version else None
        status = NodeStatus(
            version=version, digest=digest, workers=1, workers_ready=1, clock=0.0, queries=0, blocked=0, listening=[]
        )
        with transaction(self.served.wired.engine) as session:
            at_ms = int(time.time() * 1000) + later_ms
            reports.write_heartbeats(session, [(self.node.number, Heartbeat(status, at_ms))])


def test_a_stream_that_names_an_older_version_takes_the_newer_acks_back(served: Served) -> None:
    fallen = Fallen(served, "stream")
    with fallen.node.client() as client:
        offers = fallen.node.offers(client, str(fallen.first.version))
        assert next(offers) == fallen.second
        assert fallen.view().acked == fallen.first.version
        assert fallen.view().behind
        assert fallen.waits()
        fallen.ack(fallen.second)
        assert fallen.view().acked == fallen.second.version
        assert not fallen.waits()
    assert "node.policy.lose" in tags(served.wired.engine)


def test_a_version_refused_after_it_was_acknowledged_is_refused(served: Served) -> None:
    fallen = Fallen(served, "refusal")
    with fallen.node.client() as client:
        refusal = {"version": fallen.second.version, "digest": fallen.second.digest, "reason": "the disk is damaged"}
        client.post("/nacks", json=refusal).raise_for_status()
    view = fallen.view()
    assert (view.acked, view.nack_version) == (fallen.first.version, fallen.second.version)
    assert fallen.waits()


def test_a_heartbeat_of_an_older_version_counts_once_it_cannot_have_been_overtaken(served: Served) -> None:
    fallen = Fallen(served, "heartbeat")
    fallen.says(fallen.first.version, later_ms=SETTLED_MS - 5_000)  # it may have been under way when the ack came
    assert fallen.view().acked == fallen.second.version
    fallen.says(None, later_ms=10 * SETTLED_MS)  # its workers are on their way; nothing is known
    assert fallen.view().acked == fallen.second.version
    fallen.says(fallen.first.version, later_ms=SETTLED_MS + 5_000)
    assert fallen.view().acked == fallen.first.version
    assert fallen.waits()


def test_the_answer_to_a_heartbeat_says_how_far_the_newest_version_has_come(served: Served) -> None:
    fallen = Fallen(served, "reach")
    silent = Fallen(served, "Edison Middle")
    newest = silent.second.version
    with transaction(served.wired.engine) as session:
        reports.take_back(session, silent.node.number, silent.first.version, 0)
        reach = delivery.reach(session, time.time())
    assert (reach.version, reach.expected - reach.acked) == (newest, len(reach.missing))
    assert "Edison Middle, never seen" in reach.sentence()
    assert reach.sentence().startswith(f"version {newest} in force on {reach.acked} of {reach.expected} resolvers; ")
    with fallen.node.client() as client:
        status = {"version": newest, "digest": silent.second.digest, "workers": 1, "workers_ready": 1}
        status |= {"clock": time.time(), "queries": 0, "blocked": 0, "listening": []}
        deadline = time.monotonic() + 20
        while client.post("/status", json=status).json()["version"] != newest:
            assert time.monotonic() < deadline
            time.sleep(0.1)
