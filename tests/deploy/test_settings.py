"""Settings: the file, the environment over it, and every mistake at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.settings import (
    BadSettings,
    load_settings,
    parse_endpoint,
    parse_upstream,
    portal_config,
    resolver_config,
    system_upstreams,
)
from resolver.config import Endpoint, SecureEndpoint


def test_nothing_at_all_is_a_working_configuration() -> None:
    settings = load_settings()
    assert resolver_config(settings).listen == (Endpoint("127.0.0.1", 5300),)
    assert resolver_config(settings).upstreams
    assert portal_config(settings).url == "http://127.0.0.1:8080"


def test_the_environment_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "schoolgate.toml"
    path.write_text('[resolver]\nworkers = 2\nudp_size = 1400\n[portal]\nlisten = "127.0.0.1:9000"\n')
    monkeypatch.setenv("SCHOOLGATE_RESOLVER__WORKERS", "3")
    monkeypatch.setenv("SCHOOLGATE_RESOLVER__UPSTREAMS", '["127.0.0.1:5353", "[::1]:53"]')
    settings = load_settings(path)
    told = resolver_config(settings)
    assert (told.workers, told.udp_size) == (3, 1400)
    assert told.upstreams == (Endpoint("127.0.0.1", 5353), Endpoint("::1", 53))
    assert portal_config(settings).port == 9000


def test_all_mistakes_are_told_at_once_each_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "schoolgate.toml"
    path.write_text(
        'colour = "green"\n[resolver]\nlisten = ["nowhere"]\nworkers = 1000\nallow = ["10.0.0.1/8"]\n'
        '[portal]\nurl = "x"\n'
    )
    monkeypatch.setenv("SCHOOLGATE_PORTAL__COLOUR", "green")
    with pytest.raises(BadSettings) as caught:
        load_settings(path)
    said = str(caught.value)
    for place in (
        "colour: no such setting",
        "resolver.listen.0: 'nowhere' is not an address",
        "resolver.workers",
        "resolver.allow.0",
        "portal.url",
        "environment: SCHOOLGATE_PORTAL__COLOUR: no such setting",
    ):
        assert place in said


@pytest.mark.parametrize("text", ["[resolver\n", "\x00", 'data = "\\q"'])
def test_a_file_that_is_no_toml_is_told_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(BadSettings, match=r"bad\.toml"):
        load_settings(path)


def test_a_missing_file_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="No such file"):
        load_settings(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("192.0.2.1", Endpoint("192.0.2.1", 53)),
        ("192.0.2.1:5353", Endpoint("192.0.2.1", 5353)),
        ("2001:db8::1", Endpoint("2001:db8::1", 53)),
        ("[2001:DB8::1]:5353", Endpoint("2001:db8::1", 5353)),
    ],
)
def test_an_endpoint_is_an_address_with_or_without_a_port(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize("text", ["", "dns.example", "1.2.3.4:0", "1.2.3.4:99999", "[::1", "1.2.3.4:x"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        parse_endpoint(text)


def test_the_machines_own_resolvers_are_the_upstreams_and_quad9_without_any(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("search example\nnameserver 192.0.2.7\nnameserver fe80::1%eth0\nnameserver rubbish\n")
    assert system_upstreams(path) == (Endpoint("192.0.2.7", 53), Endpoint("fe80::1", 53))
    assert system_upstreams(tmp_path / "none")[0].address == "9.9.9.9"


def test_an_upstream_over_tls_names_its_certificate() -> None:
    assert parse_upstream("tls://dns.quad9.net@9.9.9.9") == SecureEndpoint("9.9.9.9", 853, "dns.quad9.net")
    assert str(parse_upstream("tls://dns.test@[2620:fe::fe]:8853")) == "tls://dns.test@[2620:fe::fe]:8853"
    assert parse_upstream("9.9.9.9") == Endpoint("9.9.9.9", 53)
    for text in ("tls://9.9.9.9", "https://dns.quad9.net@9.9.9.9", "tls://@9.9.9.9", "tls://dns.test@dns.test"):
        with pytest.raises(ValueError, match="write "):
            parse_upstream(text)


def test_a_file_that_holds_no_certificates_is_a_mistake(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("nothing")
    for path in (empty, tmp_path / "missing.pem"):
        file = tmp_path / "schoolgate.toml"
        file.write_text(f'[resolver]\nupstream_ca = "{path}"\n')
        with pytest.raises(BadSettings, match="no file of PEM certificates"):
            load_settings(file)
