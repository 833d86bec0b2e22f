"""Settings: the file, the environment over it, and every mistake at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from blocklists import names
from deploy.commands.up import environment_of
from deploy.endpoints import parse_endpoint, parse_upstream, system_upstreams
from deploy.oidc import BadSecretFile, oidc_config
from deploy.settings import (
    BadSettings,
    load_settings,
    portal_config,
    resolver_config,
)
from resolver.config import Endpoint, Forward, HttpsEndpoint, SecureEndpoint


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


def test_forwarded_zones_are_names_or_networks_each_with_its_servers(tmp_path: Path) -> None:
    path = tmp_path / "schoolgate.toml"
    path.write_text(
        '[resolver.forward]\n"Corp.district.example." = ["10.0.0.10", "tls://dc2@10.0.0.11"]\n'
        '"172.16.0.0/16" = ["10.0.0.10"]\n"fd00::/8" = ["[fd00::10]:5353"]\n'
    )
    first = (Endpoint("10.0.0.10", 53), SecureEndpoint("10.0.0.11", 853, "dc2"))
    assert resolver_config(load_settings(path)).forward == (
        Forward(names.to_wire("corp.district.example"), first),
        Forward(names.to_wire("16.172.in-addr.arpa"), first[:1]),
        Forward(names.to_wire("d.f.ip6.arpa"), (Endpoint("fd00::10", 5353),)),
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('"corp.example" = ["nowhere"]', "is not an address"),
        ('"corp.example" = []', "name at least one server"),
        ('"corp.example" = ["10.0.0.1"]\n"Corp.example." = ["10.0.0.2"]', "stands twice"),
        ('"10.0.0.0/12" = ["10.0.0.1"]', "multiple of 8 bits"),
        ('"10.0.0.1/8" = ["10.0.0.1"]', "has host bits set"),
        ('"a..b" = ["10.0.0.1"]', "empty part"),
    ],
)
def test_a_forwarded_zone_that_cannot_be_is_said(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "schoolgate.toml"
    path.write_text(f"[resolver.forward]\n{line}\n")
    with pytest.raises(BadSettings, match=said) as caught:
        load_settings(path)
    assert "resolver.forward" in str(caught.value)


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
    for text in ("tls://9.9.9.9", "http://dns.quad9.net@9.9.9.9", "tls://@9.9.9.9", "tls://dns.test@dns.test"):
        with pytest.raises(ValueError, match="write "):
            parse_upstream(text)


def test_an_upstream_over_https_names_its_certificate_its_address_and_its_path() -> None:
    assert parse_upstream("https://dns.quad9.net@9.9.9.9") == HttpsEndpoint(
        "9.9.9.9", 443, "dns.quad9.net", "/dns-query"
    )
    found = parse_upstream("https://dns.test@[2620:fe::fe]:8443/a/b")
    assert (str(found), found.authority) == ("https://dns.test@[2620:fe::fe]:8443/a/b", "dns.test:8443")  # type: ignore[attr-defined]
    for text, said in (
        ("https://dns.test/dns-query", "write "),
        ("https://dns.test@dns.test/dns-query", "is not an address"),
        ("https://dns.test@9.9.9.9/dns-query{?dns}", "without a template"),
        ("https://dns.test@9.9.9.9/a b", "without a template"),
    ):
        with pytest.raises(ValueError, match=said):
            parse_upstream(text)


def test_a_file_that_holds_no_certificates_is_a_mistake(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("nothing")
    for path in (empty, tmp_path / "missing.pem"):
        file = tmp_path / "schoolgate.toml"
        file.write_text(f'[resolver]\nupstream_ca = "{path}"\n')
        with pytest.raises(BadSettings, match="no file of PEM certificates"):
            load_settings(file)


OIDC = """
[portal]
url = "https://gate.example"
[portal.oidc]
provider = "google"
client_id = "c"
client_secret_file = "{secret}"
domains = ["Riverbend.example"]
"""


def test_a_provider_of_identities_is_told_with_the_secret_of_a_file_that_only_the_owner_reads(tmp_path: Path) -> None:
    secret, path = tmp_path / "secret", tmp_path / "schoolgate.toml"
    secret.write_text(" s3cret\n")
    secret.chmod(0o600)
    path.write_text(OIDC.format(secret=secret))
    section = load_settings(path).portal.oidc
    told = oidc_config(section, "https://gate.example")
    assert told is not None
    assert (told.issuer, told.domains) == ("https://accounts.google.com", ("riverbend.example",))
    assert told.client_secret == "s3cret" and "s3cret" not in repr(told)
    assert oidc_config(load_settings().portal.oidc, "https://gate.example") is None
    with pytest.raises(BadSecretFile, match="needs https"):
        oidc_config(section, "http://gate.example")
    secret.chmod(0o640)
    with pytest.raises(BadSecretFile, match="chmod 600"):
        oidc_config(section, "https://gate.example")
    secret.chmod(0o600)
    for content in ("", "two\nlines", "é", "x" * 600):
        secret.write_text(content)
        with pytest.raises(BadSecretFile, match="one line"):
            oidc_config(section, "https://gate.example")
    secret.unlink()
    with pytest.raises(BadSecretFile, match="No such file"):
        oidc_config(section, "https://gate.example")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('provider = "google"', "needs client_id, client_secret_file, domains"),
        ('provider = "entra"', "needs client_id, client_secret_file, tenant"),
        ('provider = "okta"', "portal.oidc.provider"),
        ('tenant = "common"', "never `common`"),
        ('domains = ["*"]', "is no domain"),
        ('issuer = "http://idp.example"', "https address"),
        ('client_secret = "x"', "no such setting"),
    ],
)
def test_a_provider_that_is_told_by_halves_is_a_mistake(tmp_path: Path, lines: str, said: str) -> None:
    path = tmp_path / "schoolgate.toml"
    path.write_text(f"[portal.oidc]\n{lines}\n")
    with pytest.raises(BadSettings, match=said):
        load_settings(path)


def test_what_up_hands_down_in_variables_is_read_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "schoolgate.toml"
    path.write_text(OIDC.format(secret=tmp_path / "secret"))
    settings = load_settings(path)
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SCHOOLGATE_PORTAL__OIDC__CLIENT_ID", "another")
    again = load_settings().portal
    assert again.oidc == settings.portal.oidc.model_copy(update={"client_id": "another"})
    assert again.url == "https://gate.example"


@pytest.mark.parametrize(("megabytes", "entries"), [(1, 1_600), (16, 25_600), (64, 100_000), (8192, 100_000)])
def test_a_small_cache_makes_a_small_worker_and_a_large_one_no_boundless_one(
    monkeypatch: pytest.MonkeyPatch, megabytes: int, entries: int
) -> None:
    monkeypatch.setenv("SCHOOLGATE_RESOLVER__CACHE_MB", str(megabytes))
    told = resolver_config(load_settings())
    assert (told.cache_bytes, told.memo_entries) == (megabytes << 20, entries)
