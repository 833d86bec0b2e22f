"""Workers map the flat file of the policy that was verified, and no other; without it they serve the same."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blocklists.decide import decide
from blocklists.flat import flatten
from blocklists.flat_layers import FlatLayers
from blocklists.policy import Action
from blocklists.policy_codec import load
from blocklists.snapshot import Snapshot
from resolver import durable
from resolver.delivery.policy_store import OBJECTS, PolicyStore, Refused
from tests import support
from tests.resolver.fake_portal import District, base_of

BASE = base_of("instagram.com", "x.com")
GRANTS = (support.grant(7, "instagram.com"), support.grant(8, "x.com", sites=("north",)))


@pytest.fixture
def district() -> District:
    return District()


@pytest.fixture
def store(tmp_path: Path) -> PolicyStore:
    made = PolicyStore(tmp_path / "state")
    made.create()
    return made


def keep(store: PolicyStore, district: District, version: int, grants: tuple[object, ...] = GRANTS) -> Path:
    """Accept a version; return where its flat file should be."""
    offer, data = district.publish(version, BASE, grants=grants)
    store.accept(offer, data, district.source, district.pin)
    return store.state / OBJECTS / f"{offer.digest}.flat"


def loaded(store: PolicyStore, previous: Snapshot | None = None) -> Snapshot:
    snapshot = store.load(previous)
    assert snapshot is not None
    return snapshot


def mapped(snapshot: Snapshot) -> bool:
    return isinstance(snapshot.layers, FlatLayers)


def decides_as_granted(snapshot: Snapshot) -> bool:
    rules = snapshot.rules("lab")
    opened, blocked = (decide(name, rules, 2e9) for name in ("www.instagram.com", "x.com"))
    return (opened.action, opened.reason.number, blocked.action) == (Action.ALLOW, 7, Action.BLOCK)


def test_what_was_accepted_is_mapped_at_birth_and_at_the_next_version(store: PolicyStore, district: District) -> None:
    flat = keep(store, district, 1)
    assert flat.stat().st_mode & 0o777 == 0o600
    first = loaded(store)
    assert mapped(first) and decides_as_granted(first)
    keep(store, district, 2, (*GRANTS, support.grant(9, "t.co")))
    second = loaded(store, first)
    assert mapped(second) and decides_as_granted(second)
    assert second.base is first.base
    assert second.policy.grants[2].number == 9


def _other(flat: Path) -> bytes:
    return flatten(load(flat.with_suffix("").read_bytes()), "ab" * 32)


DAMAGE: dict[str, Callable[[Path], bytes | None]] = {
    "absent": lambda flat: None,
    "empty": lambda flat: b"",
    "cut": lambda flat: flat.read_bytes()[:-9],
    "a flipped bit": lambda flat: flat.read_bytes()[:300] + b"\xff" + flat.read_bytes()[301:],
    "another format": lambda flat: b"SGFLAT00" + flat.read_bytes()[8:],
    "of another policy": _other,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_without_a_sound_flat_file_workers_read_the_policy_and_the_next_boot_makes_it_again(
    name: str, store: PolicyStore, district: District
) -> None:
    flat = keep(store, district, 1)
    whole, damaged = flat.read_bytes(), DAMAGE[name](flat)
    flat.unlink()
    if damaged is not None:
        flat.write_bytes(damaged)
    snapshot = loaded(store)
    assert not mapped(snapshot) and decides_as_granted(snapshot)
    again = loaded(store, snapshot)
    assert again is snapshot
    found = store.verify_current(district.pin)
    assert (found.held is not None, found.warning) == (True, "")
    assert flat.read_bytes() == whole
    assert mapped(loaded(store)) and decides_as_granted(loaded(store))


def test_accepting_what_is_current_makes_a_missing_flat_file_again(store: PolicyStore, district: District) -> None:
    flat = keep(store, district, 1)
    flat.unlink()
    keep(store, district, 1)
    assert mapped(loaded(store))


def forge(flat: Path) -> None:
    """A whole flat file under the right name that opens everything: written by who can write here, signed by nobody."""
    policy = load(flat.with_suffix("").read_bytes())
    flat.write_bytes(flatten(replace(policy, grants=(support.grant(1, "com"),)), flat.stem))


def test_a_forged_flat_file_does_not_survive_a_boot(store: PolicyStore, district: District) -> None:
    flat = keep(store, district, 1)
    forge(flat)
    store.verify_current(district.pin)
    assert mapped(loaded(store)) and decides_as_granted(loaded(store))


def refuse(monkeypatch: pytest.MonkeyPatch, *, unlink: bool = False) -> None:
    """Let no flat file be written, nor (`unlink`) removed."""
    write, remove = durable.write, Path.unlink

    def failing(path: Path, data: bytes, mode: int = 0o600) -> None:
        if path.suffix == ".flat":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        write(path, data, mode)

    def staying(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".flat":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        remove(path, missing_ok)

    monkeypatch.setattr(durable, "write", failing)
    if unlink:
        monkeypatch.setattr(Path, "unlink", staying)


def test_a_flat_file_that_cannot_be_written_stops_no_version(
    store: PolicyStore, district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch)
    keep(store, district, 1)
    snapshot = loaded(store)
    assert not mapped(snapshot) and decides_as_granted(snapshot)
    assert store.verify_current(district.pin).warning == ""


def test_a_forged_flat_file_that_cannot_be_replaced_is_removed_and_one_that_stays_is_not_served(
    store: PolicyStore, district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = keep(store, district, 1)
    forge(flat)
    with monkeypatch.context() as patched:
        refuse(patched)
        assert store.verify_current(district.pin).warning == ""
        assert not mapped(loaded(store)) and decides_as_granted(loaded(store))
        keep(store, district, 1)
    keep(store, district, 1)
    forge(flat)
    with monkeypatch.context() as patched:
        refuse(patched, unlink=True)
        assert store.verify_current(district.pin).held is None
        assert store.load(None) is None


def test_a_policy_that_rotted_beside_its_flat_file_is_noticed_at_a_birth(
    store: PolicyStore, district: District
) -> None:
    flat = keep(store, district, 1)
    flat.with_suffix("").write_bytes(b"rot")
    with pytest.raises(Refused, match="damaged"):
        store.load(None)


WRITES = {"the policy": 0, "the flat file": 1, "the pointer": 2}


@pytest.mark.parametrize("when", ["before", "in the middle of", "after"])
@pytest.mark.parametrize("what", WRITES)
def test_killed_at_any_write_a_whole_version_is_served_and_the_same_offer_is_taken_again(
    what: str, when: str, store: PolicyStore, district: District
) -> None:
    keep(store, district, 1)
    offer, data = district.publish(2, BASE, grants=GRANTS)
    pid = os.fork()
    if pid == 0:  # the subscription process, which dies by kill -9 at this write
        try:
            die_at(WRITES[what], when)
            store.accept(offer, data, district.source, district.pin)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    took = (what, when) == ("the pointer", "after")
    served = loaded(PolicyStore(store.state))
    assert (served.version, mapped(served), decides_as_granted(served)) == (2 if took else 1, True, True)
    next_start = PolicyStore(store.state)
    next_start.create()
    found = next_start.verify_current(district.pin)
    assert (found.held is not None and found.held.version, found.warning) == (served.version, "")
    next_start.accept(offer, data, district.source, district.pin)
    served = loaded(next_start)
    assert (served.version, mapped(served), decides_as_granted(served)) == (2, True, True)
    assert not list((store.state / OBJECTS).glob(f"{durable.TEMPORARY}*"))


def die_at(number: int, when: str) -> None:
    write, sync, seen = durable.write, os.fsync, []

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def counted(path: Path, data: bytes, mode: int = 0o600) -> None:
        seen.append(path)
        if len(seen) - 1 == number and when == "before":
            die()
        os.fsync = die if len(seen) - 1 == number and when == "in the middle of" else sync
        write(path, data, mode)
        if len(seen) - 1 == number and when == "after":
            die()

    durable.write = counted
