"""A portal whose own clock jumps: resolvers still get what was decided and keep their own hours, and it is told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from blocklists import policy_codec
from blocklists.exchange import Offer
from portal.access import Actor, ActorKind
from portal.database import reading, transaction
from portal.doors.levers import set_brake
from portal.models.alerts import AlertKind
from portal.models.delivery import PolicyVersion
from portal.models.words import Role
from portal.upkeep import alerts
from tests.portal.gatehouse import FakeNode, Served, config_in, founded, free_port, grant, serving, tags, token
from tests.resolver.fake_portal import until

CHIEF = Actor(ActorKind.USER, 1, "Desk", frozenset({Role.ADMINISTRATOR}), user_id=1)
DAY = 86_400


def hear(node: FakeNode, offer: Offer) -> None:
    """A heartbeat of a resolver whose clock is right."""
    with node.client() as client:
        body = {"version": offer.version, "digest": offer.digest, "workers": 1, "workers_ready": 1}
        more = {"clock": time.time(), "queries": 0, "blocked": 0, "listening": []}
        assert client.post("/status", json={**body, **more}).status_code == 200


def wrong_clocks(served: Served, now: float) -> list[str]:
    with reading(served.wired.engine) as session:
        found = alerts.present(session, now, now - DAY, "portal:1", {})
    return [one.detail for one in found if one.kind is AlertKind.CLOCK]


@pytest.mark.parametrize(("jump", "word"), [(-DAY, "86"), (365 * DAY, "behind")])
def test_a_portal_whose_clock_jumps_goes_on_publishing_and_says_that_clocks_differ(
    tmp_path: Path, jump: int, word: str
) -> None:
    off = 0.0

    def clock() -> float:
        return time.time() + off

    config = config_in(tmp_path, free_port())
    engine = founded(config)
    lasting = grant(engine, starts_at=int(time.time()) - 10, ends_at=int(time.time()) + 10 * DAY, at=time.time())
    with serving(config, engine, clock) as served:
        node = FakeNode.enrolled(served.url, token(config, engine, clock()))
        with node.client() as client:
            offers = node.offers(client)
            first = next(offers)
            hear(node, first)
            assert wrong_clocks(served, clock()) == []
            off = float(jump)
            with transaction(engine) as session:
                set_brake(session, CHIEF, clock(), "evil.example", "It attacks us.")
            served.wired.wake()
            second = next(offers)
        with reading(engine) as session:
            policy = policy_codec.load(session.get_one(PolicyVersion, second.version).body)
        assert second.version == first.version + 1 and [one.name for one in policy.brakes] == ["evil.example"]
        assert [one.number for one in policy.grants] in ([lasting], [])  # never one that was not granted
        hear(node, second)
        until(lambda: wrong_clocks(served, clock()), 60)  # heartbeats are written together
        (detail,) = wrong_clocks(served, clock())
        assert word in detail and "this portal's clock" in detail
        off = 0.0
        with transaction(engine) as session:
            set_brake(session, CHIEF, clock(), "worse.example", "It attacks us too.")
        served.wired.wake()
        with node.client() as client:
            third = next(one for one in node.offers(client) if one.version > second.version)
        with reading(engine) as session:
            policy = policy_codec.load(session.get_one(PolicyVersion, third.version).body)
        assert [one.number for one in policy.grants] == [lasting] and len(policy.brakes) == 2
    assert "lever.brake.set" in tags(engine)  # and the chain of the audit holds
    engine.dispose()
