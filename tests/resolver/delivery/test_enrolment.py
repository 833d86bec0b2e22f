"""A one-time token makes a node identity; a portal with another key makes none."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from resolver.delivery.enrolment import BadIdentity, EnrolmentFailed, enrol, portal_address, read_identity
from tests.resolver.fake_portal import District, FakePortal


@pytest.fixture
def portal() -> Iterator[FakePortal]:
    made = FakePortal(District())
    yield made
    made.stop()


def test_a_token_becomes_an_identity_that_only_its_owner_can_read(portal: FakePortal, tmp_path: Path) -> None:
    state = tmp_path / "state"
    made = enrol(portal.url + "/", f"  {portal.token}\n", "edison", ["edison", "away"], state)
    assert read_identity(state) == made
    assert (made.node, made.district, made.sites) == (7, "4414", ("edison", "away"))
    assert made.pin == portal.district.pin
    assert (state / "identity.json").stat().st_mode & 0o777 == 0o600
    assert set(json.loads((state / "identity.json").read_text())) == {
        "node", "credential", "portal", "district", "public_key", "name", "sites"
    }  # fmt: skip


def test_a_portal_with_another_key_than_the_token_s_is_refused(portal: FakePortal, tmp_path: Path) -> None:
    portal.enrolled_key = District().public_key
    with pytest.raises(EnrolmentFailed, match="another key"):
        enrol(portal.url, portal.token, "edison", [], tmp_path)
    assert not (tmp_path / "identity.json").exists()


def test_a_spent_token_gets_the_portal_s_own_words(portal: FakePortal, tmp_path: Path) -> None:
    spent = "sgn_" + "x" * 24 + portal.token[28:]
    with pytest.raises(EnrolmentFailed, match="401: unknown credential"):
        enrol(portal.url, spent, "edison", [], tmp_path)


@pytest.mark.parametrize("token", ["", "sgn_", "secret", "sgn_" + "t" * 24, "sgn_" + "t" * 24 + ".zz", "sg\n"])
def test_text_that_is_no_token_is_refused_before_anyone_is_asked(token: str, tmp_path: Path) -> None:
    with pytest.raises(EnrolmentFailed, match="no enrolment token"):
        enrol("http://127.0.0.1:1", token, "edison", [], tmp_path)


def test_a_portal_that_is_down_is_named(portal: FakePortal, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(EnrolmentFailed, match=f"{url} did not answer"):
            enrol(url, portal.token, "edison", [], tmp_path)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://portal.example.org/", "https://portal.example.org"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_portal_address_is_a_scheme_a_host_and_a_port(text: str, address: str) -> None:
    assert portal_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "http://portal.example.org",
        "http://192.0.2.7:8080",
        "http://localhost.example.org",
        "ftp://127.0.0.1",
        "portal.example.org",
        "https://",
        "https://user:word@portal.example.org",
        "https://portal.example.org/api",
        "https://portal.example.org:http",
    ],
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(EnrolmentFailed):
        portal_address(text)


def test_a_resolver_without_an_identity_is_told_to_enrol(tmp_path: Path) -> None:
    with pytest.raises(BadIdentity, match="schoolgate node enroll"):
        read_identity(tmp_path)


def test_an_identity_that_others_could_read_is_refused(portal: FakePortal, tmp_path: Path) -> None:
    enrol(portal.url, portal.token, "edison", [], tmp_path)
    (tmp_path / "identity.json").chmod(0o640)
    with pytest.raises(BadIdentity, match="chmod 600"):
        read_identity(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"public_key": "00"},
        {"public_key": "zz" * 32},
        {"node": "7"},
        {"credential": None},
        {"portal": "http://portal.example.org"},
        {"sites": None},
        {"extra": 1},
    ],
)
def test_a_damaged_identity_is_refused(changes: dict[str, object], portal: FakePortal, tmp_path: Path) -> None:
    enrol(portal.url, portal.token, "edison", [], tmp_path)
    path = tmp_path / "identity.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(BadIdentity, match="damaged"):
        read_identity(tmp_path)
