"""Server cookies: the vectors of RFC 9018, their life, and what the engine says about them."""

from __future__ import annotations

import ipaddress

import dns.edns
import dns.message
import dns.rcode
import pytest

from resolver.message import wire
from resolver.message.cookies import OLDEST, PERIOD, RENEW, Cookies
from tests.resolver.laboratory import NOW, STAFF, STUDENT, Laboratory
from tests.resolver.messages import ask, read

CLIENT = b"12345678"
ADDRESS = ipaddress.ip_address(STUDENT).packed


def made(secret: str) -> Cookies:
    return Cookies((bytes.fromhex(secret),), b"")


def with_cookie(cookie: bytes, name: str = "facebook.com", **options: object) -> bytes:
    return ask(name, use_edns=0, options=[dns.edns.GenericOption(10, cookie)], **options)


def cookie_of(data: bytes) -> bytes:
    return next((one.to_wire() or b"" for one in read(data).options if one.otype == 10), b"")


def only_cookie(cookie: bytes) -> bytes:
    opt = wire.opt_record(1232, False, wire.option(10, cookie))
    return b"\0\7" + wire.header(wire.RD, 0, 0, 0, 1) + opt


@pytest.mark.parametrize(
    ("client", "address", "secret", "server"),
    [
        ("2464c4abcf10c957", "198.51.100.100", "e5e973e5a6b2a43f48e7dc849e37bfcf", "010000005cf79f111f8130c3eee29480"),
        ("2464c4abcf10c957", "198.51.100.100", "e5e973e5a6b2a43f48e7dc849e37bfcf", "010000005cf7a871d4a564a1442aca77"),
        (
            "22681ab97d52c298",
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            "dd3bdf9344b678b185a6f5cb60fca715",
            "010000005cf7c57926556bd0934c72f8",
        ),
    ],
)
def test_cookies_are_those_of_every_other_server(client: str, address: str, secret: str, server: str) -> None:
    packed = ipaddress.ip_address(address).packed
    now = int(server[8:16], 16)
    whole = bytes.fromhex(client + server)
    assert made(secret).make(bytes.fromhex(client), packed, now) == whole
    assert made(secret).good_until(whole, packed, now) == now + OLDEST


def test_reserved_octets_are_not_looked_at() -> None:
    whole = bytes.fromhex("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5")
    cookies = made("e5e973e5a6b2a43f48e7dc849e37bfcf")
    assert cookies.good_until(whole, ipaddress.ip_address("203.0.113.203").packed, 0x5CF78F71)


def test_a_cookie_lives_an_hour_and_moves_to_no_other_address() -> None:
    cookies = Cookies((), b"seed")
    whole = cookies.make(CLIENT, ADDRESS, NOW)
    assert cookies.good_until(whole, ADDRESS, NOW + OLDEST)
    assert not cookies.good_until(whole, ADDRESS, NOW + OLDEST + 1)
    assert not cookies.good_until(whole, ADDRESS, NOW - 301)
    assert not cookies.good_until(whole, ipaddress.ip_address(STAFF).packed, NOW)
    assert not cookies.good_until(whole[:-1] + bytes((whole[-1] ^ 1,)), ADDRESS, NOW)
    assert not cookies.good_until(b"\2".join((whole[:8], whole[9:])), ADDRESS, NOW)


def test_a_cookie_outlives_the_turn_of_the_key_and_workers_need_not_talk() -> None:
    midnight = (int(NOW) // PERIOD + 1) * PERIOD
    one, other = Cookies((), b"seed"), Cookies((), b"seed")
    whole = one.make(CLIENT, ADDRESS, midnight - 60)
    assert other.good_until(whole, ADDRESS, midnight + 60)
    assert other.make(CLIENT, ADDRESS, midnight - 60) == whole


@pytest.mark.parametrize("name", ["facebook.com", "known.example"])
def test_a_client_gets_a_cookie_and_the_same_one_until_it_gets_old(name: str) -> None:
    laboratory = Laboratory()
    laboratory.resolve("known.example", "known.example. 86400 A 192.0.2.1")
    for _ in range(3):  # the cache, the memo, the first level
        whole = cookie_of(laboratory.feed(with_cookie(CLIENT, name))[0])
        assert (len(whole), whole[:8]) == (24, CLIENT)
    laboratory.now += 10
    for _ in range(3):
        assert cookie_of(laboratory.feed(with_cookie(whole, name))[0]) == whole
    laboratory.now += RENEW
    for _ in range(3):
        renewed = cookie_of(laboratory.feed(with_cookie(whole, name))[0])
        assert (renewed[:8], renewed == whole) == (CLIENT, False)


def test_a_cookie_comes_with_an_answer_from_upstream_too() -> None:
    laboratory = Laboratory()
    laboratory.feed(with_cookie(CLIENT, "open.example"))
    laboratory.answer("open.example. 60 A 192.0.2.1")
    assert len(cookie_of(laboratory.late[0])) == 24


def test_cookies_do_not_defeat_the_memo() -> None:
    laboratory = Laboratory()
    for number in range(50):
        assert laboratory.feed(with_cookie(number.to_bytes(8, "big")))
    assert laboratory.engine.counters.memo_hits >= 48
    view = next(iter(laboratory.udp.clients.values())).view
    assert len(view.fast) == 1


def test_a_cookie_that_is_not_ours_is_no_reason_to_refuse() -> None:
    message = read(Laboratory().feed(with_cookie(CLIENT + bytes(32)))[0])
    assert message.rcode() == dns.rcode.NXDOMAIN
    assert len(cookie_of(message.to_wire())) == 24


def test_a_query_for_nothing_but_a_cookie() -> None:
    laboratory = Laboratory()
    whole = cookie_of(laboratory.feed(only_cookie(CLIENT))[0])
    for given, rcode in ((CLIENT, "NOERROR"), (whole, "NOERROR"), (CLIENT + bytes(16), "BADCOOKIE")):
        data = laboratory.feed(only_cookie(given))[0]
        message = read(data)
        assert (dns.rcode.to_text(message.rcode()), message.question, message.answer) == (rcode, [], [])
        assert cookie_of(data) == whole
    assert read(laboratory.feed(only_cookie(CLIENT), client="203.0.113.1")[0]).rcode() == dns.rcode.REFUSED


def test_bytes_that_only_look_like_a_cookie_at_the_end_are_read_with_care() -> None:
    laboratory = Laboratory()
    looks = b"\0\0\1\0\1\0\0\0\0" + b"\0\x0c\0\x0a\0\x08" + CLIENT  # an A record of the root with such data
    bare = ask("facebook.com")
    for _ in range(3):
        laboratory.feed(bare[:11] + b"\1" + bare[12:] + looks[:9] + b"\0\0")
        message = read(laboratory.feed(bare[:11] + b"\1" + bare[12:] + looks)[0])
        assert (message.opt, message.rcode()) == (None, dns.rcode.NXDOMAIN)
