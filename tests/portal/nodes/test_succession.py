"""The signing key changes: the old one says so, the portal goes over; without the new file it publishes nothing."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import Engine

from blocklists import signature
from blocklists.exchange import Offer
from blocklists.seed import load_seed
from portal import access
from portal.access import SYSTEM, Actor, ActorKind
from portal.config import PortalConfig
from portal.database import connect, reading, transaction
from portal.lists.bases import Bases
from portal.models.words import Role
from portal.nodes import enrolment, succession
from portal.nodes.keys import BadKey, Keyring, new_key
from portal.nodes.publication import BadPublication, Publisher
from tests.portal.gatehouse import FakeNode, serving, tags, token


def rotate(engine: Engine, config: PortalConfig, keys: Keyring) -> None:
    with transaction(engine) as session:
        succession.rotate(session, SYSTEM, time.time(), keys.current, new_key(config.data))


def test_the_portal_goes_over_to_the_new_key_and_offers_its_statement(config: PortalConfig, engine: Engine) -> None:
    old = Keyring(config.data)
    with serving(config, engine) as portal:
        node = FakeNode.enrolled(portal.url, token(config, engine, time.time()))
        with node.client() as client:
            offers = node.offers(client)
            first: Offer = next(offers)
            assert first.keys == ()
            rotate(engine, config, old)
            portal.wired.wake()
            second: Offer = next(offers)
            body = client.get(f"/objects/{second.digest}").content
        (statement,) = second.keys
        new = bytes.fromhex(statement.public_key)
        signature.verify(body, second.signature, new)
        about = (new, statement.at, statement.old_until, statement.signature)
        signature.verify_succession("riverbend", *about, bytes.fromhex(node.public_key))
        with pytest.raises(signature.BadSignature):
            signature.verify_succession("another", *about, bytes.fromhex(node.public_key))
        assert portal.wired.keys.current.public == new != old.current.public
        with transaction(engine) as session:
            fingerprint = portal.wired.keys.current.fingerprint
            secret = enrolment.create_enrolment_token(session, SYSTEM, time.time(), fingerprint)
        assert bytes.fromhex(FakeNode.enrolled(portal.url, secret, "late").public_key) == new
    assert "policy.key.rotate" in tags(engine)
    again = connect(config.database)
    with serving(config, again) as portal:
        assert portal.wired.keys.current.public == new
    again.dispose()


def test_a_portal_without_the_new_file_publishes_nothing_and_says_which_one_it_lacks(
    config: PortalConfig, engine: Engine
) -> None:
    rotate(engine, config, Keyring(config.data))
    (made,) = (path for path in (config.data / "keys").iterdir() if path.name != "signing.pem")
    hidden = made.rename(config.data / made.name)
    publisher = Publisher(engine, Keyring(config.data), Bases(config.data), load_seed())
    with pytest.raises(BadPublication, match=made.name):
        publisher.publish_pending(time.time)
    hidden.rename(made)
    published = publisher.publish_pending(time.time)
    assert published is not None and published.offer.version == 1


def test_the_chain_is_followed_over_several_changes_that_only_administrators_make(
    config: PortalConfig, engine: Engine
) -> None:
    keys = Keyring(config.data)
    for _ in range(3):
        rotate(engine, config, keys)
        with reading(engine) as session:
            keys.follow(succession.newest_key(session))
    with reading(engine) as session:
        chain = succession.chain(session)
    assert len(chain) == 3 and chain[-1].public_key == keys.current.public.hex()
    teacher = Actor(ActorKind.USER, 1, "Tess", frozenset({Role.REQUESTER}), user_id=1)
    with pytest.raises(access.Forbidden), transaction(engine) as session:
        succession.rotate(session, teacher, time.time(), keys.current, keys.current)
    with pytest.raises(BadKey, match="copy"):
        keys.follow(b"x" * 32)
