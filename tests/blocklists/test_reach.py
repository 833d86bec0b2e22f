"""Where a request may go: public addresses, checked when connecting, however they are written or redirected to."""

from __future__ import annotations

import datetime
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from blocklists.fetch import Failed, Failure, Fresh, Reach
from blocklists.reach import is_public
from blocklists.shelf import Shelf
from tests.blocklists.fetching import (
    LIST,
    MAX,
    accept,
    failed,
    fetcher,
    get,
)
from tests.blocklists.hostile_server import Server, ok, redirect, serving

# ---- Where requests may go ----


@pytest.mark.parametrize("url", ["ftp://example.com/", "file:///etc/passwd", "javascript:1", "/list", "", "https://"])
def test_only_web_addresses_are_fetched(shelf: Shelf, url: str) -> None:
    outcome = get(shelf, url)
    assert isinstance(outcome, Failed)
    assert outcome.code in (Failure.NOT_HTTPS, Failure.BAD_ADDRESS)


def test_plain_http_is_refused_unless_allowed(server: Server, shelf: Shelf) -> None:
    reach = Reach(allow_private=True)
    outcome = fetcher(shelf, reach).fetch("sample", server.url("/list"), MAX, accept)
    failed(outcome, Failure.NOT_HTTPS)
    assert not server.asked


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"])
def test_this_machine_is_not_reached_unless_allowed_however_it_is_written(
    server: Server, shelf: Shelf, host: str
) -> None:
    reach = Reach(allow_http=True)
    outcome = fetcher(shelf, reach).fetch("sample", server.url("/list", host), MAX, accept)
    assert isinstance(outcome, Failed)
    assert outcome.code in (Failure.PRIVATE_ADDRESS, Failure.UNKNOWN_HOST)
    assert not server.asked


def test_a_name_with_one_private_address_among_public_ones_is_not_reached(server: Server, shelf: Shelf) -> None:
    reach = Reach(allow_http=True, resolve=lambda host, port: ["192.0.9.1", "8.8.8.8", "127.0.0.1"])
    outcome = fetcher(shelf, reach).fetch("sample", server.url("/list", "list.example"), MAX, accept)
    assert "127.0.0.1" in failed(outcome, Failure.PRIVATE_ADDRESS).detail
    assert not server.asked


def test_the_checked_address_is_the_one_connected_to(
    server: Server, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the first look-up is public, a second one would be this machine. There is no second one."""
    looked_up: list[str] = []
    connected: list[object] = []

    def resolve(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["8.8.8.8"] if len(looked_up) == 1 else ["127.0.0.1"]

    def connect(address: tuple[str, int], *arguments: object, **more: object) -> socket.socket:
        connected.append(address)
        raise OSError("nobody leaves this machine")

    monkeypatch.setattr(socket, "create_connection", connect)
    outcome = fetcher(shelf, Reach(allow_http=True, resolve=resolve)).fetch(
        "sample", server.url("/list", "list.example"), MAX, accept
    )
    failed(outcome, Failure.NO_CONNECTION)
    assert looked_up == ["list.example"]
    assert connected == [("8.8.8.8", server.port)]


def test_a_redirect_to_a_private_address_is_not_followed(server: Server, shelf: Shelf) -> None:
    """The first host counts as public here; the second look-up, after the redirect, finds the inside."""
    hosts = {"list.example": ["127.0.0.1"], "inside.example": ["10.0.0.1"]}
    server.answers["/list"] = redirect(server.url("/secret", "inside.example"))

    def resolve(host: str, port: int) -> list[str]:
        return hosts[host]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blocklists.reach.is_public", lambda address: address == "127.0.0.1" or is_public(address))
        outcome = fetcher(shelf, Reach(allow_http=True, resolve=resolve)).fetch(
            "sample", server.url("/list", "list.example"), MAX, accept
        )
    assert "10.0.0.1" in failed(outcome, Failure.PRIVATE_ADDRESS).detail
    assert [asked.path for asked in server.asked] == ["/list"]


def test_a_name_without_an_address_is_an_unknown_host(shelf: Shelf) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    outcome = fetcher(shelf, Reach(resolve=resolve)).fetch("sample", "https://nowhere.example/", MAX, accept)
    failed(outcome, Failure.UNKNOWN_HOST)


def test_the_next_address_is_tried_when_one_does_not_answer(server: Server, shelf: Shelf) -> None:
    server.answers["/list"] = ok(LIST)
    reach = Reach(allow_private=True, allow_http=True, resolve=lambda host, port: ["127.0.0.2", "127.0.0.1"])
    assert isinstance(fetcher(shelf, reach).fetch("sample", server.url("/list", "list.example"), MAX, accept), Fresh)
    assert server.asked[0].headers["host"] == f"list.example:{server.port}"


@pytest.mark.parametrize(
    "address",
    [
        *(
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.2.1",
            "192.168.0.1",
        ),
        *("224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1"),
        *("2002:0a00:0001::", "64:ff9b::10.0.0.1", "2001:db8::1", "2001::1", "nonsense", ""),
    ],
)
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_an_address_that_is_public(address: str) -> None:
    assert is_public(address)


def test_a_proxy_of_the_environment_is_not_used(server: Server, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.answers["/list"] = ok(LIST)
    assert isinstance(get(shelf, server.url("/list")), Fresh)


# ---- TLS ----


def certificate(folder: Path, name: str) -> Path:
    """A certificate for `name`, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.mark.parametrize(("name", "code"), [("list.example", None), ("other.example", Failure.NO_CONNECTION)])
def test_over_tls_the_name_is_checked_though_an_address_was_connected_to(
    shelf: Shelf, tmp_path: Path, name: str, code: Failure | None
) -> None:
    pem = certificate(tmp_path, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    trust = ssl.create_default_context(cafile=str(pem))
    with serving(context) as server:
        server.answers["/list"] = ok(LIST)
        reach = Reach(allow_private=True, resolve=lambda host, port: ["127.0.0.1"], tls=trust)
        outcome = fetcher(shelf, reach).fetch("sample", server.url("/list", "list.example", "https"), MAX, accept)
        if code is not None:
            failed(outcome, code)
            return
        assert isinstance(outcome, Fresh)
        assert server.asked[0].server_name == "list.example"
        assert server.asked[0].headers["host"] == f"list.example:{server.port}"


def test_a_certificate_that_nobody_vouches_for_is_no_connection(shelf: Shelf, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path, "list.example"))
    with serving(context) as server:
        reach = Reach(allow_private=True, resolve=lambda host, port: ["127.0.0.1"])
        outcome = fetcher(shelf, reach).fetch("sample", server.url("/list", "list.example", "https"), MAX, accept)
        failed(outcome, Failure.NO_CONNECTION)


def test_a_redirect_from_https_to_http_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    pem = certificate(tmp_path, "list.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    trust = ssl.create_default_context(cafile=str(pem))
    with serving(context) as server:
        server.answers["/list"] = redirect("http://list.example/list")
        reach = Reach(allow_private=True, resolve=lambda host, port: ["127.0.0.1"], tls=trust)
        outcome = fetcher(shelf, reach).fetch("sample", server.url("/list", "list.example", "https"), MAX, accept)
        failed(outcome, Failure.NOT_HTTPS)
