"""A node follows its portal's keys from the one it pinned, as far as each is named by the one before."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from blocklists import signature
from blocklists.exchange import Succession
from resolver.delivery.enrolment import Identity
from resolver.delivery.keyring import KEYS, Keyring
from resolver.delivery.policy_store import PolicyStore, Refused
from tests.resolver.fake_portal import District

NOW = 1_790_000_000.0


@dataclass
class Chain:
    """A portal's keys, oldest first."""

    keys: list[Ed25519PrivateKey] = field(default_factory=lambda: [Ed25519PrivateKey.generate()])
    statements: list[Succession] = field(default_factory=list)

    def rotate(self, by: Ed25519PrivateKey | None = None) -> None:
        new, until = Ed25519PrivateKey.generate(), int(NOW) + 100
        signed = (by or self.keys[-1]).sign(signature.succession("4414", public(new), int(NOW), until)).hex()
        self.statements.append(Succession(public_key=public(new).hex(), at=int(NOW), old_until=until, signature=signed))
        self.keys.append(new)


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def ring(state: Path, chain: Chain) -> Keyring:
    pinned = public(chain.keys[0]).hex()
    return Keyring(state, Identity(1, "c", "http://127.0.0.1", "4414", pinned, "edison", ()))


def test_a_new_key_is_accepted_beside_the_old_one_for_a_while_and_then_alone(tmp_path: Path) -> None:
    chain = Chain()
    keys = ring(tmp_path, chain)
    chain.rotate()
    assert keys.learn(chain.statements, NOW) == 1
    assert keys.learn(chain.statements, NOW) == 0
    old, new = (public(key) for key in chain.keys)
    assert (keys.accepted(NOW).public_key, keys.accepted(NOW).older) == (new, (old,))
    later = ring(tmp_path, chain).accepted(NOW + 100)
    assert (later.public_key, later.older) == (new, ())
    assert keys.kept().older == (old,)
    assert (tmp_path / KEYS).stat().st_mode & 0o777 == 0o600


def test_a_node_that_was_away_follows_the_whole_chain(tmp_path: Path) -> None:
    chain = Chain()
    for _ in range(4):
        chain.rotate()
    keys = ring(tmp_path, chain)
    assert keys.learn(chain.statements, NOW + 10_000) == 4
    assert keys.accepted(NOW + 10_000).public_key == public(chain.keys[-1])


@pytest.mark.parametrize("forger", ["a stranger", "a key that was replaced"])
def test_a_key_that_the_newest_one_did_not_name_is_never_accepted(tmp_path: Path, forger: str) -> None:
    chain = Chain()
    keys = ring(tmp_path, chain)
    chain.rotate()
    keys.learn(chain.statements, NOW)
    chain.rotate(by=Ed25519PrivateKey.generate() if forger == "a stranger" else chain.keys[0])
    assert keys.learn(chain.statements, NOW) == 0
    assert keys.accepted(NOW).public_key == public(chain.keys[1])


def test_a_damaged_file_is_followed_again_from_the_pinned_key(tmp_path: Path) -> None:
    chain = Chain()
    keys = ring(tmp_path, chain)
    chain.rotate()
    keys.learn(chain.statements, NOW)
    whole = (tmp_path / KEYS).read_text()
    for damaged in ("", "{", whole.replace(chain.statements[0].signature, "0" * 128), "[1]", "[" * 100_000):
        (tmp_path / KEYS).write_text(damaged)
        assert keys.accepted(NOW).public_key == public(chain.keys[0])
        assert keys.learn(chain.statements, NOW) == 1


def test_what_an_old_key_signed_is_kept_but_nothing_new_of_it_is_taken(tmp_path: Path) -> None:
    chain = Chain()
    district = District(key=chain.keys[0])
    store = PolicyStore(tmp_path)
    store.create()
    keys = ring(tmp_path, chain)
    offer, data = district.publish(1)
    store.accept(offer, data, district.source, keys.accepted(NOW))
    chain.rotate()
    keys.learn(chain.statements, NOW)
    late, data = district.publish(2)
    with pytest.raises(Refused, match="not signed"):
        store.accept(late, data, district.source, keys.accepted(NOW + 200))
    assert store.verify_current(keys.kept()).warning == ""
    district.key = chain.keys[1]
    newer, data = district.publish(3)
    assert store.accept(newer, data, district.source, keys.accepted(NOW + 200)).version == 3
