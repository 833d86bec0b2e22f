"""The bounded readers: any bytes are a value or a `WireError`, hostile names end, dnspython reads the same."""

from __future__ import annotations

import struct

import dns.message
import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.message import wire
from resolver.message.reply import read_reply
from resolver.message.wire import WireError, read_name, read_query
from tests.fuzz.fuzz_wire import run
from tests.resolver.messages import SOA, ask, reply

OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def head(flags: int = wire.RD, qd: int = 1, an: int = 0, ns: int = 0, ar: int = 0) -> bytes:
    return struct.pack("!HHHHHH", 7, flags, qd, an, ns, ar)


QUESTION = b"\x07example\x03com\0\0\x01\0\x01"


@pytest.mark.parametrize(
    ("title", "data", "rcode"),
    [
        ("empty", b"", None),
        ("eleven octets", head()[:11], None),
        ("an answer", head(wire.QR) + QUESTION, None),
        ("an answer with another opcode", head(wire.QR | 0x2000) + QUESTION, None),
        ("opcode NOTIFY", head(0x2000) + QUESTION, wire.NOTIMP),
        ("opcode before TC", head(0x2000 | wire.TC) + QUESTION, wire.NOTIMP),
        ("opcode 15, no question", head(0x7800, qd=0), wire.NOTIMP),
        ("truncated", head(wire.TC) + QUESTION, wire.FORMERR),
        ("two questions", head(qd=2) + QUESTION * 2, wire.FORMERR),
        ("no question", head(qd=0), wire.FORMERR),
        ("an answer record", head(an=1) + QUESTION, wire.FORMERR),
        ("an authority record", head(ns=1) + QUESTION, wire.FORMERR),
        ("three additional records", head(ar=3) + QUESTION + OPT * 3, wire.FORMERR),
        ("two OPT", head(ar=2) + QUESTION + OPT * 2, wire.FORMERR),
        ("OPT not at the root", head(ar=1) + QUESTION + b"\x01a" + OPT, wire.FORMERR),
        ("no OPT where one is counted", head(ar=1) + QUESTION, wire.FORMERR),
        ("OPT ends early", head(ar=1) + QUESTION + OPT[:-1], wire.FORMERR),
        ("octets behind", head() + QUESTION + b"x", wire.FORMERR),
        ("question ends early", head() + QUESTION[:-1], wire.FORMERR),
        ("name ends early", head() + b"\x07exam", wire.FORMERR),
        ("pointer to itself", head() + b"\xc0\x0c\0\x01\0\x01", wire.FORMERR),
        ("pointer forward", head() + b"\xc0\x20\0\x01\0\x01" + QUESTION, wire.FORMERR),
        ("pointer into the header", head() + b"\xc0\0\0\x01\0\x01", wire.FORMERR),
        ("label of 64", head() + b"\x40" + b"a" * 64 + b"\0\0\x01\0\x01", wire.FORMERR),
        ("label of an unknown kind", head() + b"\x80a\0\0\x01\0\x01", wire.FORMERR),
        (
            "name of 256 octets",
            head() + b"\x3f" + b"a" * 63 + (b"\x3f" + b"a" * 63) * 3 + b"\0\0\x01\0\x01",
            wire.FORMERR,
        ),
        ("option ends early", head(ar=1) + QUESTION + OPT[:-1] + b"\x03\0\x0a\0", wire.FORMERR),
        ("option data ends early", head(ar=1) + QUESTION + OPT[:-1] + b"\x05\0\x0f\0\x08x", wire.FORMERR),
        ("cookie of 7", head(ar=1) + QUESTION + OPT[:-1] + b"\x0b\0\x0a\0\x07" + b"c" * 7, wire.FORMERR),
        ("cookie of 9", head(ar=1) + QUESTION + OPT[:-1] + b"\x0d\0\x0a\0\x09" + b"c" * 9, wire.FORMERR),
        ("cookie of 41", head(ar=1) + QUESTION + OPT[:-1] + b"\x2d\0\x0a\0\x29" + b"c" * 41, wire.FORMERR),
        ("EDNS version 1", head(ar=1) + QUESTION + b"\0\0\x29\x04\xd0\0\x01\0\0\0\0", wire.BADVERS),
    ],
)
def test_a_query_that_breaks_a_rule_is_refused_with_the_rcode_of_the_table(title: str, data: bytes, rcode: int) -> None:
    with pytest.raises(WireError) as caught:
        read_query(data)
    assert caught.value.rcode == rcode
    if rcode is not None:
        tail = wire.error_tail(data, caught.value, 1232)
        assert len(tail) + 2 <= max(len(data), 12) + len(OPT)
        message = dns.message.from_wire(data[:2] + tail)
        assert message.rcode() == rcode
        assert bool(message.opt) == caught.value.edns


def test_an_option_error_is_told_with_our_own_opt() -> None:
    with pytest.raises(WireError) as caught:
        read_query(head(ar=1) + QUESTION + OPT[:-1] + b"\x03\0\x0a\0")
    assert caught.value.edns


def test_a_plain_query_is_read_as_asked() -> None:
    query = read_query(ask("WwW.Example.COM", "AAAA"))
    assert query.name == b"\x03www\x07example\x03com\0"
    assert query.question.startswith(b"\x03WwW\x07Example\x03COM\0")
    assert (query.qtype, query.qclass, query.edns, query.size, query.do, query.plain) == (
        28,
        1,
        False,
        512,
        False,
        True,
    )


@pytest.mark.parametrize(("asked", "size"), [(0, 512), (100, 512), (512, 512), (1232, 1232), (65535, 65535)])
def test_an_edns_size_below_512_counts_as_512(asked: int, size: int) -> None:
    query = read_query(ask(use_edns=0, payload=asked, want_dnssec=True))
    assert (query.edns, query.size, query.do) == (True, size, True)


def test_case_cookie_and_unknown_options_do_not_change_the_key() -> None:
    plain = read_query(ask("example.com", use_edns=0))
    cookie = dns.edns.GenericOption(10, b"12345678")
    unknown = dns.edns.GenericOption(65001, b"x")
    other = read_query(ask("eXample.COM", use_edns=0, options=[cookie, unknown]))
    assert plain.key == other.key
    assert (plain.plain, other.plain, other.cookie) == (True, False, b"12345678")


def test_type_do_and_cd_change_the_key() -> None:
    keys = {
        read_query(ask("example.com", "A")).key,
        read_query(ask("example.com", "AAAA")).key,
        read_query(ask("example.com", "A", want_dnssec=True)).key,
        read_query(ask("example.com", "A", flags=wire.RD | wire.CD)).key,
    }
    assert len(keys) == 4


def test_unknown_flags_are_ignored_and_never_echoed() -> None:
    assert read_query(ask(flags=wire.RD | 0x40)).qtype == 1


@pytest.mark.parametrize(
    ("title", "data", "at"),
    [
        ("to itself", b"\0" * 12 + b"\xc0\x0c", 12),
        ("forward", b"\0" * 12 + b"\xc0\x0e\x01a\0", 12),
        ("two that point at each other", b"\0" * 12 + b"\xc0\x0e\xc0\x0c", 14),
        ("a label, then back to its own start", b"\0" * 12 + b"\x01a\xc0\x0c", 12),
        ("into the header", b"\0" * 12 + b"\xc0\x0b", 12),
        ("half a pointer", b"\0" * 12 + b"\xc0", 12),
        ("beyond the end", b"\0" * 12, 12),
        ("an unknown kind", b"\0" * 12 + b"\x41", 12),
    ],
)
def test_a_hostile_name_is_refused(title: str, data: bytes, at: int) -> None:
    with pytest.raises(WireError):
        read_name(data, at)


def test_a_long_ladder_of_pointers_is_refused() -> None:
    data = b"\0" * 12 + b"\0" + b"".join(struct.pack("!H", 0xC000 | at) for at in [12, *range(13, 213, 2)])
    with pytest.raises(WireError):
        read_name(data, len(data) - 2)


def test_compressed_names_are_read_whole() -> None:
    data = b"\0" * 12 + b"\x07example\x03com\0\x03www\xc0\x0c"
    assert read_name(data, 25) == (b"\x03www\x07example\x03com\0", 31)


@pytest.mark.parametrize(
    ("name", "above", "expected"),
    [
        ("www.facebook.com", "facebook.com", True),
        ("facebook.com", "facebook.com", True),
        ("notfacebook.com", "facebook.com", False),
        ("com", "facebook.com", False),
        ("a.b.c", ".", True),
    ],
)
def test_below_is_by_labels(name: str, above: str, expected: bool) -> None:
    assert wire.is_at_or_below(dns.name.from_text(name).to_wire(), dns.name.from_text(above).to_wire()) is expected


def test_a_label_that_looks_like_the_end_of_a_name_is_not_below_it() -> None:
    assert not wire.is_at_or_below(b"\x05x\x03com\0", b"\x03com\0")


@given(st.binary(max_size=600))
def test_any_bytes_are_a_query_or_a_wire_error(data: bytes) -> None:
    try:
        query = read_query(data)
    except WireError:
        return
    assert query.name == query.name.lower()
    assert len(query.name) <= 255


MUTATED = st.tuples(st.integers(0, 400), st.integers(0, 255))


@given(st.lists(MUTATED, min_size=1, max_size=8), st.booleans())
def test_a_damaged_reply_is_read_or_refused(changes: list[tuple[int, int]], do: bool) -> None:
    query = ask("www.example.com", use_edns=0)
    data = bytearray(
        reply(
            query,
            "www.example.com. 300 CNAME a.example.com.",
            "a.example.com. 60 A 192.0.2.1",
            "b.example.com. 60 MX 10 a.example.com.",
            authority=(SOA,),
        )
    )
    for at, value in changes:
        data[at % len(data)] = value
    try:
        found = read_reply(bytes(data), b"\x03www\x07example\x03com\0", 1, do)
    except WireError:
        return
    assert all(at + 4 <= len(found.body) for at, _ in found.ttls)


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_question_are_a_reply_or_a_wire_error(rest: bytes) -> None:
    data = struct.pack("!HHHHHH", 7, 0x8180, 1, 3, 2, 1) + QUESTION + rest
    try:
        read_reply(data, QUESTION[:-4], 1, False)
    except WireError:
        return


def test_the_fuzz_entry_runs_clean() -> None:
    found = run(3_000, seed=4414)
    assert found["engine answered"] > 100
    assert found["upstream answered"] > 10
