"""What the log writer counts: totals, minutes, hours by group, devices up to five, and who asks like a forwarder."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from blocklists.policy import Action, ReasonKind
from resolver.log import aggregates, tally
from resolver.log.logwriter import Writer
from resolver.log.pseudonyms import pseudonymised
from resolver.log.querylog import Record, Ring, encode, ring_path
from resolver.log.tally import Seen, Tally
from tests.resolver.log.test_logwriter import NOON, RECORD

NOW = NOON.timestamp()


def seen(*records: Record) -> Seen:
    found: Seen = Counter()
    pseudonymised(encode(records), lambda client: client, found)
    return found


def device(number: int) -> bytes:
    return bytes((10, 0, number >> 8, number & 255))


def of(plain: dict[str, object], group: str) -> dict[str, object]:
    hours = plain["hours"]
    assert isinstance(hours, list)
    (found,) = [row for row in hours if row["group"] == group and row["hour"] == int(NOW) // 3600 * 3600]
    return dict(found)


def test_counts_by_group_category_and_device(tmp_path: Path) -> None:
    counted = Tally(tmp_path)
    allowed = replace(RECORD, action=Action.ALLOW, reason=ReasonKind.DEFAULT, category="", qtype=65, latency=30_000)
    canary = replace(RECORD, action=Action.SYNTHESIZE, reason=ReasonKind.BYPASS, category="")
    counted.take(seen(RECORD, RECORD, allowed, replace(RECORD, client=device(1), group="other"), canary), NOW)
    plain = counted.plain()
    assert ["lab", "block", "category", "social-media", "A", 2] in plain["totals"]
    assert ["lab", "allow", "default", "", "HTTPS", 1] in plain["totals"]
    lab = of(plain, "lab")
    assert (lab["queries"], lab["blocked"], lab["bypass"], lab["devices"]) == (4, 2, 1, 1)
    assert lab["categories"] == [["social-media", 2, 1]]
    assert plain["minutes"] == [[int(NOW) // 60 * 60, 5, 3]]
    assert plain["waited"][tally.BUCKETS.index(0.05)] == 1
    assert plain["waited_sum"] == pytest.approx(0.03)


def test_a_blocked_name_of_a_public_resolver_is_a_bypass_signal_and_an_opened_one_is_not(tmp_path: Path) -> None:
    counted = Tally(tmp_path)
    blocked = replace(RECORD, category="encrypted-dns")
    opened = replace(blocked, action=Action.ALLOW, reason=ReasonKind.GRANT)
    counted.take(seen(blocked, opened, replace(blocked, client=device(1)), RECORD), NOW)
    lab = of(counted.plain(), "lab")
    assert (lab["queries"], lab["bypass"], lab["bypass_devices"]) == (4, 2, 2)
    assert lab["categories"] == [["encrypted-dns", 2, 2], ["social-media", 1, 1]]


def test_more_devices_than_enough_are_not_kept_apart(tmp_path: Path) -> None:
    counted = Tally(tmp_path)
    counted.take(seen(*(replace(RECORD, client=device(number)) for number in range(40))), NOW)
    assert of(counted.plain(), "lab")["devices"] == tally.ENOUGH


def test_an_address_with_many_questions_for_many_names_asks_like_a_forwarder(tmp_path: Path) -> None:
    counted = Tally(tmp_path)
    busy = [replace(RECORD, group="busy")] * (tally.FORWARDER_QUERIES + 1)
    many = tally.FORWARDER_NAMES * 3 // 2  # far from where counting by hashes may err
    names = [bytes((3, *f"{number:03x}".encode(), 0)) for number in range(many)]
    server = [replace(RECORD, client=device(9), group="hidden", name=name) for name in names]
    curious = [replace(RECORD, client=device(8), group="curious", name=name) for name in names[: many // 3]]
    counted.take(seen(*busy, *server), NOW)
    assert not of(counted.plain(), "busy")["forwarder"], "many questions for one name are one device's habit"
    assert not of(counted.plain(), "hidden")["forwarder"], "many names alone are a curious device"
    for _ in range(tally.FORWARDER_QUERIES // len(curious) + 1):
        counted.take(seen(*server, *curious), NOW)
    assert of(counted.plain(), "hidden")["forwarder"]
    assert not of(counted.plain(), "curious")["forwarder"], "half as many names as a forwarder asks for"
    assert not of(counted.plain(), "busy")["forwarder"]


def test_old_hours_and_minutes_are_forgotten(tmp_path: Path) -> None:
    counted = Tally(tmp_path)
    for hour in range(4):
        counted.take(seen(RECORD), NOW + 3600 * hour)
    plain = counted.plain()
    assert [row["hour"] - NOW for row in plain["hours"]] == [7200, 10800]
    assert len(plain["minutes"]) == 1
    assert plain["totals"][0][5] == 4


def test_a_new_log_writer_goes_on_counting_and_a_damaged_file_begins_anew(tmp_path: Path) -> None:
    ring = Ring.create(ring_path(tmp_path, 0), 1 << 16)
    for count in (1, 2):
        writer = Writer(tmp_path)
        assert ring.append(encode([RECORD]))
        writer.step(NOON + timedelta(seconds=count))
        writer.sync()
        writer.close()
        plain = tally.read(tmp_path)
        assert plain is not None
        assert plain["totals"] == [["lab", "block", "category", "social-media", "A", count]]
        assert of(plain, "lab")["devices"] == 1
    assert RECORD.client not in (tmp_path / tally.FILE).read_bytes()
    assert b"10.1.2.3" not in (tmp_path / tally.FILE).read_bytes()
    (tmp_path / tally.FILE).write_text('{"totals": [["lab"]]}')
    assert Tally(tmp_path).plain()["totals"] == []


def test_the_portal_is_told_what_many_devices_asked_for_on_the_day_before_and_never_who(tmp_path: Path) -> None:
    counted = Tally(tmp_path)
    allowed = replace(RECORD, action=Action.ALLOW, reason=ReasonKind.DEFAULT, category="", qtype=1)
    many = [replace(allowed, client=device(number), name=b"\x04many\x07example\0") for number in range(6)]
    blocked = [replace(RECORD, client=device(number)) for number in range(6)]
    pointers = [replace(one, qtype=12, name=b"\x03ptr\x07example\0") for one in many]
    counted.take(seen(*many, *blocked, *pointers, replace(allowed, name=b"\x03few\x07example\0")), NOW)
    counted.take(seen(allowed), NOW + 86_400)
    counted.close(NOW + 86_400)
    told = aggregates.sight(tmp_path, groups=True)
    assert told is not None and told.asked is not None
    assert [one.name for one in told.asked.names] == ["many.example"]
    assert told.asked.day == int(NOW) // 86_400 * 86_400
    assert device(1).hex() not in told.model_dump_json()
    without = aggregates.sight(tmp_path, groups=False)
    assert without is not None and without.asked is None
