"""The provider's documents: what is believed of them, how long they are kept, and how much of them is read."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import OctKey

from portal.oidc.addresses import is_safe
from portal.oidc.fetching import MAX_BYTES, Fetcher, ProviderTrouble
from portal.oidc.provider import FRESH, PAUSE, REFETCH, STALE, CodeRefused, Provider
from tests.portal.oidc.conftest import PATIENT, oidc
from tests.portal.oidc.idp import Answer, Drip, Idp, running


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def server() -> Iterator[Idp]:
    with running() as idp:
        yield idp


@pytest.fixture
def idp(server: Idp) -> Idp:
    server.honest()
    return server


@pytest.fixture
def clock() -> Clock:
    return Clock()


def provider(idp: Idp, clock: Clock, fetcher: Fetcher = PATIENT) -> Provider:
    return Provider(oidc(idp), fetcher, clock)


def asked(idp: Idp, path: str) -> int:
    return idp.asked.count(path)


DISCOVERY, JWKS = "/.well-known/openid-configuration", "/jwks"

BAD: dict[str, Answer] = {
    "a redirect": (302, {"Location": "/jwks"}, b""),
    "an error": (500, {}, b"{}"),
    "nothing there": (404, {}, b"{}"),
    "a page": (200, {"Content-Type": "text/html"}, b"<html></html>"),
    "a list": (200, {}, b"[]"),
    "a document without end": (200, {}, b"[" * 100_000),
    "a huge document": (200, {}, b'{"issuer": "' + b"x" * MAX_BYTES + b'"}'),
    "a compressed document": (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"),
    "half of a document": (200, {"Content-Length": "500"}, b"{"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("path", [DISCOVERY, JWKS])
def test_a_document_that_is_none_is_trouble(idp: Idp, clock: Clock, path: str, what: str) -> None:
    idp.serve[path] = lambda: BAD[what]
    with pytest.raises(ProviderTrouble):
        provider(idp, clock).key("k1")


def test_a_document_that_drips_is_given_up(idp: Idp, clock: Clock) -> None:
    idp.serve[DISCOVERY] = lambda: (200, {}, Drip())
    with pytest.raises(ProviderTrouble):
        provider(idp, clock, Fetcher(loopback=True, seconds=0.3)).endpoints()


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": "http://198.51.100.1/token"},
        {"token_endpoint": "file:///etc/passwd"},
        {"jwks_uri": ["https://x.example"]},
        {"jwks_uri": "https://user@x.example/"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://x.example/ y\r\nSet-Cookie: a=b"},
    ],
)
def test_a_discovery_document_that_leads_astray_is_refused(idp: Idp, clock: Clock, changes: dict[str, object]) -> None:
    idp.document = changes
    with pytest.raises(ProviderTrouble, match="discovery document"):
        provider(idp, clock).endpoints()


def test_http_and_private_addresses_are_for_an_issuer_on_loopback_only(idp: Idp) -> None:
    for url, loopback, fine in (
        ("http://127.0.0.1:9/x", True, True),
        ("http://127.0.0.1:9/x", False, False),
        ("http://idp.example/x", True, False),
        ("https://idp.example/x", False, True),
        ("https://[", False, False),
        ("https://idp.example:x/", False, False),
    ):
        assert is_safe(url, loopback) is fine, url
    with pytest.raises(ProviderTrouble):
        Fetcher(loopback=False).get(f"{idp.url}/jwks")
    with pytest.raises(ProviderTrouble, match="PrivateAddress"):
        Fetcher(loopback=False).get(idp.url.replace("http:", "https:"))


def test_documents_are_kept_for_an_hour_and_serve_on_for_a_day_when_the_provider_is_gone(
    idp: Idp, clock: Clock
) -> None:
    found = provider(idp, clock)
    for _ in range(3):
        found.endpoints()
        found.key("k1")
    assert (asked(idp, DISCOVERY), asked(idp, JWKS)) == (1, 1)
    clock.now = FRESH + 1
    idp.serve = {DISCOVERY: lambda: BAD["an error"], JWKS: lambda: BAD["an error"]}
    found.endpoints()
    found.key("k1")
    assert asked(idp, DISCOVERY) == 2
    clock.now = STALE + 1
    with pytest.raises(ProviderTrouble):
        found.endpoints()
    idp.serve = {}
    with pytest.raises(ProviderTrouble, match="a moment ago"):
        found.endpoints()
    clock.now += PAUSE
    found.endpoints()


def test_a_new_key_is_found_by_one_more_fetch_and_an_unknown_one_does_not_make_a_flood(idp: Idp, clock: Clock) -> None:
    found = provider(idp, clock)
    found.key("k1")
    idp.kid = "k2"
    for _ in range(3):
        with pytest.raises(KeyError):
            found.key("k2")
    assert asked(idp, JWKS) == 1
    clock.now = REFETCH
    found.key("k2")
    assert asked(idp, JWKS) == 2
    with pytest.raises(KeyError):
        found.key("k1")  # withdrawn
    with pytest.raises(KeyError):
        found.key("k3")
    assert asked(idp, JWKS) == 2


def keys(*listed: object) -> Callable[[], Answer]:
    return lambda: (200, {}, json.dumps({"keys": listed}).encode())


def test_only_strong_public_keys_for_signatures_are_taken(idp: Idp, clock: Clock) -> None:
    good = {**idp.key.as_dict(private=False), "kid": "good"}
    numbers = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    modulus = base64.urlsafe_b64encode(numbers.n.to_bytes(128, "big")).rstrip(b"=").decode()
    weak = {"kty": "RSA", "n": modulus, "e": "AQAB", "kid": "weak"}
    shared = {**OctKey.generate_key(256).as_dict(), "kid": "shared"}
    strange = {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "strange"}
    sealing = {**good, "kid": "sealing", "use": "enc"}
    idp.serve[JWKS] = keys(weak, shared, strange, sealing, 7, {**good, "kid": 7}, good)
    found = provider(idp, clock)
    found.key("good")
    found.key("")  # the only one: a token may leave its name out
    for kid in ("weak", "shared", "strange", "sealing", "7"):
        with pytest.raises(KeyError):
            found.key(kid)
    idp.serve[JWKS] = keys(*[good] * 51)
    with pytest.raises(ProviderTrouble):
        provider(idp, clock).key("good")
    idp.serve[JWKS] = keys(good, {**good, "kid": "too"})
    with pytest.raises(KeyError):
        provider(idp, clock).key("")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((400, {}, b'{"error": "invalid_grant"}'), CodeRefused),
        ((401, {}, b'{"error": "invalid_client"}'), ProviderTrouble),
        ((400, {}, b"<html>"), ProviderTrouble),
        ((503, {}, b""), ProviderTrouble),
        ((307, {"Location": "https://evil.example/token"}, b""), ProviderTrouble),
        ((200, {}, b"{}"), ProviderTrouble),
        ((200, {}, b'{"id_token": 7}'), ProviderTrouble),
        ((200, {}, b'{"id_token": ""}'), ProviderTrouble),
        ((200, {}, b'{"id_token": "' + b"x" * 17_000 + b'"}'), ProviderTrouble),
    ],
)
def test_an_exchange_gives_a_token_or_says_why_not(
    idp: Idp, clock: Clock, answer: Answer, error: type[Exception]
) -> None:
    idp.serve["/token"] = lambda: answer
    with pytest.raises(error) as caught:
        provider(idp, clock).exchange("code", "verifier", "http://127.0.0.1/back")
    assert "secret" not in str(caught.value)


def test_the_secret_goes_into_the_form_or_into_the_header_as_the_provider_wants(idp: Idp, clock: Clock) -> None:
    sent: list[dict[str, str]] = []

    class Listening(Fetcher):
        def post(self, url, form, basic=None):  # type: ignore[no-untyped-def]
            sent.append({**form, "basic": "" if basic is None else ":".join(basic)})
            return super().post(url, form, basic)

    for methods, basic in (
        (["client_secret_post"], ""),
        (None, "a%2Fb:c%3Ad"),
        (["client_secret_basic"], "a%2Fb:c%3Ad"),
    ):
        idp.document = {"token_endpoint_auth_methods_supported": methods}
        config = replace(oidc(idp), client_id="a/b", client_secret="c:d")
        with pytest.raises(ProviderTrouble, match="401 invalid_client"):
            Provider(config, Listening(loopback=True, seconds=60), clock).exchange("code", "v", "http://127.0.0.1/")
        assert sent[-1]["basic"] == basic
        assert ("client_secret" in sent[-1]) is not bool(basic)
        assert "c:d" not in repr(config)
