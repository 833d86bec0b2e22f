"""The state folder keeps only whole, signed, newer snapshots, and always has one to go back to."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from blocklists.exchange import Offer
from blocklists.policy_codec import dump
from resolver import durable
from resolver.delivery.policy_store import Pin, PolicyStore, Refused
from tests.resolver.fake_portal import POLICY, District, base_of


@pytest.fixture
def district() -> District:
    return District()


@pytest.fixture
def store(tmp_path: Path) -> PolicyStore:
    made = PolicyStore(tmp_path / "state")
    made.create()
    return made


def keep(store: PolicyStore, district: District, version: int, base: bytes | None = None) -> Offer:
    offer, data = district.publish(version, base)
    store.accept(offer, data, district.source, district.pin)
    return offer


def served(store: PolicyStore) -> tuple[int, str] | None:
    snapshot = store.load(None)
    return None if snapshot is None else (snapshot.version, snapshot.digest)


def test_before_the_first_snapshot_there_is_nothing_to_load(store: PolicyStore, district: District) -> None:
    assert store.load(None) is None
    assert store.held() is None
    found = store.verify_current(district.pin)
    assert (found.held, found.warning) == (None, "")


def test_an_accepted_snapshot_is_what_workers_load(store: PolicyStore, district: District) -> None:
    offer = keep(store, district, 1)
    snapshot = store.load(None)
    assert snapshot is not None
    assert (snapshot.version, snapshot.digest, snapshot.base.digest) == (1, offer.digest, offer.base)
    assert [one.entry for one in snapshot.base.listings("www.instagram.com")] == ["instagram.com"]


def test_a_new_policy_over_the_same_base_keeps_the_mapped_base(store: PolicyStore, district: District) -> None:
    keep(store, district, 1)
    first = store.load(None)
    keep(store, district, 2)
    second = store.load(first)
    assert first is not None and second is not None
    assert second.version == 2
    assert second.base is first.base
    assert store.load(second) is second


def test_accepting_what_is_current_changes_nothing(store: PolicyStore, district: District, tmp_path: Path) -> None:
    offer, data = district.publish(1)
    first = store.accept(offer, data, district.source, district.pin)
    written = (tmp_path / "state/current.json").stat().st_mtime_ns
    assert store.accept(offer, data, district.source, district.pin) == first
    assert (tmp_path / "state/current.json").stat().st_mtime_ns == written


def test_files_are_readable_by_their_owner_alone(store: PolicyStore, district: District, tmp_path: Path) -> None:
    keep(store, district, 1)
    state = tmp_path / "state"
    assert state.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in state.rglob("*")} == {0}


def test_only_current_and_previous_stay_on_disk(store: PolicyStore, district: District, tmp_path: Path) -> None:
    bases = [base_of(f"site{number}.com") for number in range(4)]
    offers = [keep(store, district, number + 1, base) for number, base in enumerate(bases)]
    kept = {path.name for path in (tmp_path / "state/objects").iterdir()}
    assert kept == {name for offer in offers[-2:] for name in (offer.digest, f"{offer.digest}.flat", offer.base)}


# name -> (district, offer of version 2, its policy bytes) -> (offer, bytes) that must be refused; held is version 2
Twist = Callable[[District, Offer, bytes], tuple[Offer, bytes]]


def _unsigned(district: District, offer: Offer, data: bytes) -> tuple[Offer, bytes]:
    return offer.model_copy(update={"signature": "0" * 128}), data


def _other_key(_: District, offer: Offer, data: bytes) -> tuple[Offer, bytes]:
    return District().sign(data, offer.version, offer.base)


def _flipped(_: District, offer: Offer, data: bytes) -> tuple[Offer, bytes]:
    return offer, data[:40] + bytes([data[40] ^ 1]) + data[41:]


def _other_format(district: District, offer: Offer, data: bytes) -> tuple[Offer, bytes]:
    return district.sign(data.replace(b'"format":1', b'"format":2'), offer.version, offer.base)


def _not_json(district: District, offer: Offer, _: bytes) -> tuple[Offer, bytes]:
    return district.sign(b"[" * 100_000, offer.version, offer.base)


def _wrong_district(district: District, offer: Offer, _: bytes) -> tuple[Offer, bytes]:
    return district.publish(offer.version, district="4415")


def _other_version_inside(district: District, offer: Offer, data: bytes) -> tuple[Offer, bytes]:
    return offer.model_copy(update={"version": offer.version + 1}), data


def _other_base_outside(district: District, offer: Offer, data: bytes) -> tuple[Offer, bytes]:
    return offer.model_copy(update={"base": "a" * 64}), data


def _unknown_category(district: District, offer: Offer, _: bytes) -> tuple[Offer, bytes]:
    return district.publish(offer.version, categories=(), groups=())


def _damaged_base(district: District, offer: Offer, _: bytes) -> tuple[Offer, bytes]:
    offer, data = district.publish(offer.version, base_of("tiktok.com"))
    whole = district.objects[offer.base]
    district.objects[offer.base] = whole[:-1] + bytes([whole[-1] ^ 1])
    return offer, data


def _no_base(district: District, offer: Offer, _: bytes) -> tuple[Offer, bytes]:
    junk = b"SGBASE99" + bytes(40)
    return district.publish(offer.version, junk)


REFUSALS: dict[str, tuple[int, Twist, str]] = {
    "unsigned": (3, _unsigned, "not signed"),
    "signed by another key": (3, _other_key, "not signed"),
    "truncated": (3, lambda _, offer, data: (offer, data[:-1]), "digest differs"),
    "empty": (3, lambda _, offer, data: (offer, b""), "digest differs"),
    "a bit flipped": (3, _flipped, "digest differs"),
    "another format": (3, _other_format, "format 2"),
    "not JSON": (3, _not_json, "not JSON"),
    "older": (1, lambda _, offer, data: (offer, data), "older than 2"),
    "same version, other digest": (2, lambda d, o, _: d.publish(o.version, audit_head="x"), "ALARM"),
    "wrong district": (3, _wrong_district, "district '4415'"),
    "another version inside": (3, _other_version_inside, "another version or base"),
    "another base outside": (3, _other_base_outside, "another version or base"),
    "a list in no category": (3, _unknown_category, "does not have"),
    "base damaged on the way": (3, _damaged_base, "damaged"),
    "base of another format": (3, _no_base, "SGBASE99"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_wrong_is_refused_with_the_reason_and_the_old_one_stays(
    name: str, store: PolicyStore, district: District, tmp_path: Path
) -> None:
    version, twist, reason = REFUSALS[name]
    keep(store, district, 2)
    before = served(store)
    objects = sorted(path.name for path in (tmp_path / "state/objects").iterdir() if path.stat().st_size)
    offer, data = twist(district, *district.publish(version))
    with pytest.raises(Refused, match=reason):
        store.accept(offer, data, district.source, district.pin)
    assert served(store) == before
    assert store.verify_current(district.pin).warning == ""
    left = sorted(path.name for path in (tmp_path / "state/objects").iterdir())
    assert [one for one in left if not one.startswith(durable.TEMPORARY)] == left
    assert set(objects) <= set(left)


def test_the_same_version_with_other_content_raises_an_alarm(store: PolicyStore, district: District) -> None:
    keep(store, district, 1)
    offer, data = district.publish(1, audit_head="other")
    with pytest.raises(Refused) as caught:
        store.accept(offer, data, district.source, district.pin)
    assert caught.value.alarm


def test_transport_errors_pass_through_and_leave_nothing(
    store: PolicyStore, district: District, tmp_path: Path
) -> None:
    class CutOff(Exception):
        pass

    def cut(_: str, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise CutOff

    offer, data = district.publish(1)
    with pytest.raises(CutOff):
        store.accept(offer, data, cut, district.pin)
    assert list((tmp_path / "state/objects").iterdir()) == []


def test_a_damaged_base_on_disk_is_fetched_again(store: PolicyStore, district: District, tmp_path: Path) -> None:
    offer = keep(store, district, 1)
    (tmp_path / "state/objects" / offer.base).write_bytes(b"rot")
    keep(PolicyStore(tmp_path / "state"), district, 2)
    assert store.verify_current(district.pin).warning == ""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_is_a_refusal(
    number: int, store: PolicyStore, district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, district, 1)
    offer, data = district.publish(2, base_of("tiktok.com"))

    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Refused, match=os.strerror(number)):
        store.accept(offer, data, district.source, district.pin)
    monkeypatch.undo()
    assert served(store) is not None and served(store)[0] == 1  # type: ignore[index]
    store.accept(offer, data, district.source, district.pin)


def test_a_failure_at_any_write_leaves_a_whole_snapshot(
    tmp_path: Path, district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever rename is the last that happens, what is there verifies and is the old or the new one."""
    real = Path.replace
    for allowed in range(7):
        store = PolicyStore(tmp_path / str(allowed))
        store.create()
        old = keep(store, district, 1)
        new, data = district.publish(2, base_of("tiktok.com"))
        left = allowed

        def replace_some(path: Path, target: Path) -> Path:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(errno.EIO, "cut here")
            return real(path, target)

        monkeypatch.setattr(Path, "replace", replace_some)
        with contextlib.suppress(Refused):
            store.accept(new, data, district.source, district.pin)
        monkeypatch.setattr(Path, "replace", real)
        found = PolicyStore(tmp_path / str(allowed)).verify_current(district.pin)
        assert found.warning == ""
        assert found.held is not None and found.held.digest in {old.digest, new.digest}


DAMAGE = {
    "policy": lambda state, offer: _flip(state / "objects" / offer.digest),
    "base": lambda state, offer: _flip(state / "objects" / offer.base),
    "policy gone": lambda state, offer: (state / "objects" / offer.digest).unlink(),
    "pointer": lambda state, offer: (state / "current.json").write_bytes(b"{}"),
    "pointer torn": lambda state, offer: (state / "current.json").write_bytes(b'{"version": 2, "dig'),
    "signature": lambda state, offer: _edit(state / "current.json", signature="0" * 128),
    "version": lambda state, offer: _edit(state / "current.json", version=3, seen_version=3),
}


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def _edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_current_falls_back_to_the_previous_and_says_so(
    name: str, store: PolicyStore, district: District, tmp_path: Path
) -> None:
    keep(store, district, 1, base_of("a.com"))
    offer = keep(store, district, 2, base_of("b.com"))
    DAMAGE[name](tmp_path / "state", offer)
    found = store.verify_current(district.pin)
    assert found.held is not None and found.held.version == 1
    assert "current.json" in found.warning and "serving version 1" in found.warning
    assert served(store) is not None and served(store)[0] == 1  # type: ignore[index]
    again = PolicyStore(tmp_path / "state")
    data = district.objects[offer.digest]
    assert again.accept(offer, data, district.source, district.pin).version == 2  # the same offer mends it
    assert again.verify_current(district.pin).warning == ""


def test_after_a_fall_back_an_older_version_is_still_refused(
    store: PolicyStore, district: District, tmp_path: Path
) -> None:
    keep(store, district, 1, base_of("a.com"))
    offer = keep(store, district, 5, base_of("b.com"))
    _flip(tmp_path / "state/objects" / offer.digest)
    store.verify_current(district.pin)
    between, data = district.publish(3)
    with pytest.raises(Refused, match="older than 5"):
        store.accept(between, data, district.source, district.pin)


def test_with_another_key_pinned_nothing_that_was_kept_is_served(
    store: PolicyStore, district: District, tmp_path: Path
) -> None:
    keep(store, district, 1)
    keep(store, district, 2)
    found = store.verify_current(Pin("4414", District().public_key))
    assert found.held is None and "not signed" in found.warning
    assert store.load(None) is None


def test_what_a_killed_writer_left_is_cleared_at_the_next_start(store: PolicyStore, tmp_path: Path) -> None:
    (tmp_path / "state/.new-a").write_bytes(b"half")
    (tmp_path / "state/.new-b").mkdir()
    (tmp_path / "state/objects/.new-c").write_bytes(b"half")
    store.create()
    assert [path.name for path in (tmp_path / "state").rglob("*")] == ["objects"]


def test_reverting_serves_the_previous_and_remembers_the_newest(store: PolicyStore, district: District) -> None:
    first = keep(store, district, 1)
    second = keep(store, district, 2)
    reverted = store.revert()
    assert reverted is not None and (reverted.digest, reverted.seen_digest) == (first.digest, second.digest)
    assert served(store) == (1, first.digest)
    keep(store, district, 2)
    assert served(store) == (2, second.digest)


def test_a_worker_that_finds_damage_gets_the_declared_error(
    store: PolicyStore, district: District, tmp_path: Path
) -> None:
    offer = keep(store, district, 1)
    _flip(tmp_path / "state/objects" / offer.base)
    with pytest.raises(Refused, match="version 1 cannot be opened"):
        store.load(None)


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_policies_and_offers_are_refused_or_equal_in_effect(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The mutation is signed by the portal half of the time: then only its content can be wrong."""
    district = District()
    store = PolicyStore(tmp_path_factory.mktemp("state"))
    store.create()
    keep(store, district, 1)
    before = served(store)
    offer, policy = district.publish(2)
    mutated = bytearray(policy)
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(policy) - 1), st.integers(0, 255)), max_size=3)):
        mutated[at] = value
    if data.draw(st.booleans()):
        offer, policy = district.sign(bytes(mutated), 2, offer.base)
    else:
        policy = bytes(mutated)
    plain = offer.model_dump()
    for key in data.draw(st.lists(st.sampled_from(sorted(plain)), max_size=1)):
        plain[key] = data.draw(st.one_of(st.integers(-1, 4), st.text("0123456789abcdef", min_size=64, max_size=64)))
    try:
        held = store.accept(Offer.model_validate(plain), policy, lambda _, file: None, district.pin)
    except (Refused, ValidationError):
        assert served(store) == before
    else:
        assert served(store) == (2, held.digest)
        assert store.verify_current(district.pin).warning == ""


def test_the_policy_of_the_tests_is_one_that_the_codec_reads() -> None:
    assert dump(replace(POLICY, version=2)) != dump(POLICY)
