"""Local records as an administrator writes them: every type read, every mistake said in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local_records import parse_record
from deploy.settings import BadSettings, load_settings, resolver_config
from resolver.config import LocalRecord


def test_a_record_has_a_time_to_live_and_a_class_when_they_are_written() -> None:
    plain = LocalRecord(b"\1a\4test\0", 1, 300, b"\xc0\0\2\1")
    assert parse_record("A.test.  a  192.0.2.1 ") == plain
    assert parse_record("a.test 60 IN A 192.0.2.1") == LocalRecord(plain.name, 1, 60, plain.rdata)


@pytest.mark.parametrize(
    ("text", "rtype", "rdata"),
    [
        ("a.test AAAA fd00::9", 28, bytes.fromhex("fd000000000000000000000000000009")),
        ("a.test CNAME B.test", 5, b"\1b\4test\0"),
        ("9.0.0.10.in-addr.arpa PTR b.test", 12, b"\1b\4test\0"),
        ('a.test TXT "x y" z', 16, b"\3x y\1z"),
        ("_ldap._tcp.a.test SRV 0 100 389 dc1.test", 33, b"\0\0\0\x64\1\x85\3dc1\4test\0"),
        ("a.test HTTPS 0 b.test", 65, b"\0\0\1b\4test\0"),
        ('a.test HTTPS 1 . port=8443 alpn="h2,h3"', 65, b"\0\1\0\0\1\0\6\2h2\2h3\0\3\0\2\x20\xfb"),
    ],
)
def test_every_type_is_read(text: str, rtype: int, rdata: bytes) -> None:
    found = parse_record(text)
    assert (found.rtype, found.rdata) == (rtype, rdata)


def test_an_address_stands_for_its_name_in_the_reverse_zone() -> None:
    assert parse_record("10.0.0.9 PTR a.test").name == parse_record("9.0.0.10.in-addr.arpa PTR a.test").name
    assert parse_record("fd00::9 PTR a.test").name.endswith(b"\1d\1f\3ip6\4arpa\0")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.test", "write NAME"),
        ("a.test MX 10 b.test", "one of A, AAAA, CNAME, PTR, TXT, SRV, HTTPS, not MX"),
        ("a.test A 10.0.0.300", "not an IPv4 address"),
        ("a.test AAAA fe80::1%eth0", "not an IPv6 address"),
        ("a.test 700000 A 10.0.0.1", "at most 604800 seconds"),
        ("10.0.0.1 A 10.0.0.1", "this is an IP address"),
        ("*.a.test A 10.0.0.1", "character that no name can have"),
        ("a.test CNAME b..test", "empty part"),
        ("a.test SRV 0 0 99999 b.test", "99999"),
        ("a.test SRV 0 0 389", "expecting"),
        ("a.test HTTPS 1 . alpn=h2 alpn=h3", "duplicate"),
        ('a.test TXT "' + "x" * 256 + '"', "too long"),
        ('a.test TXT "x', "ended"),
    ],
)
def test_a_mistake_is_said_with_the_line_that_has_it(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse_record(text)
    assert text[:20] in str(caught.value)


def test_settings_name_the_place_of_each_mistake_and_of_records_that_cannot_stand_together(tmp_path: Path) -> None:
    path = tmp_path / "schoolgate.toml"
    path.write_text('[resolver]\nlocal = ["a.test A 192.0.2.1", "b.test A nowhere", "c.test MX 1 a.test"]\n')
    with pytest.raises(BadSettings) as caught:
        load_settings(path)
    assert [line.split(": ")[1] for line in caught.value.mistakes] == ["resolver.local.1", "resolver.local.2"]
    path.write_text('[resolver]\nlocal = ["a.test A 192.0.2.1", "a.test CNAME b.test"]\n')
    with pytest.raises(BadSettings, match=r"resolver.local: a.test has a CNAME and another record"):
        load_settings(path)


def test_records_reach_the_resolver_from_the_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "schoolgate.toml"
    path.write_text('[resolver]\nlocal = ["a.test A 192.0.2.1"]\n')
    assert resolver_config(load_settings(path)).local == (parse_record("a.test A 192.0.2.1"),)
    monkeypatch.setenv("SCHOOLGATE_RESOLVER__LOCAL", '["b.test TXT hello"]')
    assert resolver_config(load_settings(path)).local == (parse_record("b.test TXT hello"),)
