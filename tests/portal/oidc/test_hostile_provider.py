"""A provider, or somebody between, that lies: each row is one lie, and nobody is signed in by it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hmac
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from portal.oidc import flow
from tests.portal.oidc.conftest import DOMAIN, House
from tests.portal.oidc.idp import SECRET, Claims, Idp, signed
from tests.portal.pages.gate import Browser

STRANGER = RSAKey.generate_key(2048)


def with_claim(**changes: Any) -> Callable[[Idp, Claims], str]:
    return lambda idp, claims: signed(idp, {**claims, **changes})


def without(name: str) -> Callable[[Idp, Claims], str]:
    return lambda idp, claims: signed(idp, {key: value for key, value in claims.items() if key != name})


def at(name: str, seconds: float) -> Callable[[Idp, Claims], str]:
    return lambda idp, claims: signed(idp, {**claims, name: int(time.time() + seconds)})


def by(key: Any, **header: Any) -> Callable[[Idp, Claims], str]:
    def sign(idp: Idp, claims: Claims) -> str:
        named = {"alg": "RS256", "kid": idp.kid, **header}
        return jwt.encode(named, claims, key or idp.key, algorithms=[named["alg"]])

    return sign


def raw(header: dict[str, Any], mac: Callable[[Idp], bytes] | None = None) -> Callable[[Idp, Claims], str]:
    """Made by hand: libraries refuse to make these."""

    def sign(idp: Idp, claims: Claims) -> str:
        parts = [json.dumps({"kid": idp.kid, **header}), json.dumps(claims)]
        text = ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)
        if mac is None:
            return f"{text}."
        made = hmac.HMAC(mac(idp), SHA256())
        made.update(text.encode())
        return f"{text}.{base64.urlsafe_b64encode(made.finalize()).rstrip(b'=').decode()}"

    return sign


def payload(content: bytes) -> Callable[[Idp, Claims], str]:
    return lambda idp, claims: jws.serialize_compact({"alg": "RS256", "kid": idp.kid}, content, idp.key)


def public_pem(idp: Idp) -> bytes:
    return idp.key.as_pem(private=False)


LIES: dict[str, Callable[[Idp, Claims], str]] = {
    "another issuer": with_claim(iss="https://accounts.google.com"),
    "the issuer with a slash": lambda idp, claims: signed(idp, {**claims, "iss": idp.url + "/"}),
    "no issuer": without("iss"),
    "issuers in a list": lambda idp, claims: signed(idp, {**claims, "iss": [idp.url]}),
    "another audience": with_claim(aud="another-client"),
    "further audiences": with_claim(aud=["schoolgate", "another-client"]),
    "no audience": without("aud"),
    "another authorized party": with_claim(azp="another-client"),
    "another nonce": with_claim(nonce="x" * 43),
    "no nonce": without("nonce"),
    "nonces in a list": lambda idp, claims: signed(idp, {**claims, "nonce": [claims["nonce"]]}),
    "expired": at("exp", -120),
    "no end": without("exp"),
    "an end in words": with_claim(exp="tomorrow"),
    "issued tomorrow": at("iat", 86_400),
    "issued yesterday": at("iat", -86_400),
    "no time of issue": without("iat"),
    "a time of issue that is true": with_claim(iat=True),
    "not valid yet": at("nbf", 3_600),
    "no subject": without("sub"),
    "an empty subject": with_claim(sub=""),
    "a subject that is a number": with_claim(sub=1),
    "a subject without end": with_claim(sub="x" * 300),
    "algorithm none": raw({"alg": "none"}),
    "algorithm None": raw({"alg": "None"}),
    "no algorithm": raw({}),
    "algorithms in a list": raw({"alg": ["RS256"]}),
    "HS256 with the public key": raw({"alg": "HS256"}, public_pem),
    "HS256 with the client's secret": by(OctKey.import_key(SECRET), alg="HS256"),
    "HS256, called RS256": raw({"alg": "RS256"}, public_pem),
    "another key of the same id": by(STRANGER),
    "a key that nobody knows": by(STRANGER, kid="k2"),
    "no key id, another key": by(STRANGER, kid=""),
    "a key of another kind": by(ECKey.generate_key("P-256"), alg="ES256"),
    "a key of its own in the header": by(STRANGER, jwk=STRANGER.as_dict(private=False)),
    "a key elsewhere": by(STRANGER, kid="k9", jku="https://evil.example/jwks"),
    "a header that must be understood": raw({"alg": "RS256", "crit": ["exp"], "exp": 1}),
    "a key id that is a number": raw({"alg": "RS256", "kid": 7}, public_pem),
    "no signature": lambda idp, claims: signed(idp, claims).rpartition(".")[0] + ".",
    "a changed claim": lambda idp, claims: _changed(signed(idp, claims)),
    "no token": lambda idp, claims: "nothing",
    "a token in five parts": lambda idp, claims: "a.b.c.d.e",
    "claims that are a list": payload(b"[1]"),
    "claims without end": payload(b"[" * 10_000),
    "a token of 20 kB": with_claim(more="x" * 20_000),
    "letters that are not ASCII": lambda idp, claims: signed(idp, claims) + "é",
}


def _changed(token: str) -> str:
    header, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["sub"] = "administrator"
    return f"{header}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.{signature}"


@pytest.fixture(scope="module")
def tess(house: House) -> int:
    return house.account("tess", "requester")


def test_an_honest_one_signs_in(house: House, tess: int, visitor: Callable[[], Browser]) -> None:
    """Or the rows below would prove nothing."""
    house.is_("tess")
    browser = visitor()
    assert browser.open("/sign-in/oidc?next=/grants").status_code == 200
    assert browser.path() == "/grants"
    assert house.signed_in(browser).id == tess  # type: ignore[union-attr]


def test_no_lie_about_the_token_is_believed(house: House, tess: int, visitor: Callable[[], Browser]) -> None:
    believed = []
    for lie, sign in LIES.items():
        house.idp.honest()
        house.is_("tess")
        house.idp.sign = sign
        browser = visitor()
        answer = browser.open("/sign-in/oidc")
        if house.signed_in(browser) is not None or answer.status_code not in (403, 503) or browser.path() == "/":
            believed.append((lie, answer.status_code))
        assert "not answer as it should" in browser.text or "cannot be believed" in browser.text, lie
        assert flow.COOKIE not in browser.client.cookies, lie
    assert not believed


STUDENTS: dict[str, Claims] = {
    "of another Workspace": {"hd": "elsewhere.example"},
    "of a Workspace that looks alike": {"hd": f"x{DOMAIN}"},
    "with a private account": {"hd": None},
    "with domains in a list": {"hd": [DOMAIN]},
    "whose address nobody verified": {"email_verified": False},
    "whose address is verified in words": {"email_verified": "true"},
    "without an account here": {"email": f"student@students.{DOMAIN}"},
    "without an address": {"email": None},
}


@pytest.mark.parametrize("who", STUDENTS)
def test_a_student_is_told_kindly_and_gets_nothing(
    house: House, tess: int, visitor: Callable[[], Browser], who: str
) -> None:
    house.is_("tess", "another subject")
    house.idp.person |= STUDENTS[who]
    browser = visitor()
    assert browser.open("/sign-in/oidc").status_code == 403
    assert "You have done nothing wrong" in browser.text
    assert "tell your teacher" in browser.text
    assert house.signed_in(browser) is None
    assert "another subject" not in house.identities(tess)


def away(house: House, browser: Browser) -> str:
    """To the provider and on the way back, stopped before the portal sees it; return that address."""
    browser.client.follow_redirects = False
    there = browser.client.get("/sign-in/oidc").headers["location"]
    back = browser.client.get(there).headers["location"]
    browser.client.follow_redirects = True
    return str(back)


def refused(house: House, browser: Browser, address: str, sentence: str) -> None:
    answer = browser.open(address)
    assert answer.status_code == 403
    assert sentence in browser.text
    assert house.signed_in(browser) is None


def test_a_way_back_of_another_browser_signs_nobody_in(house: House, tess: int, visitor: Callable[[], Browser]) -> None:
    """Somebody sends their own way back to a victim (login CSRF), or takes a victim's."""
    house.is_("tess")
    mine, theirs, neither = visitor(), visitor(), visitor()
    first, second = away(house, mine), away(house, theirs)
    refused(house, neither, first, "Begin again")
    refused(house, theirs, first, "Begin again")
    assert mine.open(first).status_code == 200
    assert house.signed_in(mine) is not None
    refused(house, theirs, second, "Begin again")  # its cookie went with the first try


def test_a_code_put_into_another_sign_in_is_refused_by_its_verifier(
    house: House, tess: int, visitor: Callable[[], Browser]
) -> None:
    house.is_("tess")
    victim, thief = visitor(), visitor()
    code = away(house, victim).partition("code=")[2].partition("&")[0]
    own = away(house, thief)
    stolen = own.replace(own.partition("code=")[2].partition("&")[0], code)
    refused(house, thief, stolen, "Begin again")


def test_a_way_back_counts_once_even_with_its_cookie_and_a_provider_that_forgives(
    house: House, tess: int, visitor: Callable[[], Browser]
) -> None:
    house.is_("tess")
    house.idp.forgives = True
    browser, again = visitor(), visitor()
    address = away(house, browser)
    again.client.cookies.set(flow.COOKIE, browser.client.cookies[flow.COOKIE], domain="127.0.0.1")
    assert browser.open(address).status_code == 200
    asked = len(house.idp.asked)
    refused(house, again, address, "Begin again")
    assert len(house.idp.asked) == asked  # nothing was even exchanged


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda back: f"{back}&iss=https%3A%2F%2Fevil.example", "cannot be believed"),
        (lambda back: back.replace("state=", "state=x"), "Begin again"),
        (lambda back: back.partition("&state=")[0], "Begin again"),
        (lambda back: back.replace("code=", "kode="), "Begin again"),
        (lambda back: back.replace("code=", f"code={'x' * 5_000}"), "Begin again"),
        (lambda back: back.replace("code=", "code=x"), "Begin again"),
        (lambda back: back.replace("code=", "error=access_denied&kode="), "You did not sign in with Google"),
    ],
)
def test_a_way_back_that_was_tampered_with_is_refused(
    house: House, tess: int, visitor: Callable[[], Browser], change: Callable[[str], str], sentence: str
) -> None:
    house.is_("tess")
    browser = visitor()
    refused(house, browser, change(away(house, browser)), sentence)


def test_a_cookie_of_somebody_elses_making_is_none(house: House, visitor: Callable[[], Browser]) -> None:
    browser = visitor()
    for cookie in ("", "x", "A" * 200, "x" * 5_000, house.served.wired.sealer.seal("another purpose", b"{}")):
        browser.client.cookies.set(flow.COOKIE, cookie, domain="127.0.0.1")
        refused(house, browser, "/sign-in/oidc/callback?code=x&state=x", "Begin again")
