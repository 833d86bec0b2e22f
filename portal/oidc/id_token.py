"""An ID token: is it the provider's own, for us, for this sign-in, and of now? (OpenID Connect Core 1.0, 3.1.3.7)

    size -> header: an allowed algorithm -> the provider's key of that id -> signature -> issuer, audience, nonce,
    times, subject

The algorithm is ours to choose, never the token's: `none` and every HMAC are refused before a key is looked at. A
refusal says which check failed and nothing of the content.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwt import JWTClaimsRegistry

from portal.oidc.provider import Provider

ALGORITHMS = ("RS256", "PS256", "ES256")
SKEW = 60  # seconds between the provider's clock and ours
MAX_AGE = 600  # seconds since it was issued
_MAX_SUBJECT = 255

Claims = Mapping[str, object]


class BadToken(Exception):
    """`str()` names the check that failed, for the log."""


def read(provider: Provider, token: str, nonce: str, now: float) -> Claims:
    """Return the claims of a token that passed every check. Raises `BadToken` and `ProviderTrouble` (its keys cannot be
    had)."""
    config = provider.config
    kid = _kid(token)
    try:
        key = provider.key(kid)
    except KeyError:
        raise BadToken("no such key") from None
    try:
        claims = jwt.decode(token, key, algorithms=ALGORITHMS).claims
        JWTClaimsRegistry(
            now=int(now),
            leeway=SKEW,
            iss={"essential": True, "value": config.issuer},
            sub={"essential": True},
            aud={"essential": True, "value": config.client_id},
            exp={"essential": True},
            iat={"essential": True},
        ).validate(claims)
    except JoseError as error:
        raise BadToken(f"{error.error} {getattr(error, 'claim', '')}".strip()) from None
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise BadToken("cannot be read") from None
    _check(claims, config.client_id, nonce, now)
    return claims


def _kid(token: str) -> str:
    try:
        header = jws.extract_compact(token.encode("ascii")).headers()
    except (JoseError, ValueError, TypeError, RecursionError):
        raise BadToken("no signed token") from None
    algorithm, kid = header.get("alg"), header.get("kid", "")
    if algorithm not in ALGORITHMS:
        raise BadToken("an algorithm that is not allowed")
    if not isinstance(kid, str) or "crit" in header:
        raise BadToken("a header that is not understood")
    return kid


def _check(claims: Claims, client_id: str, nonce: str, now: float) -> None:
    """What the registry does not look at."""
    audience = claims["aud"]
    if isinstance(audience, list) and audience != [client_id]:
        raise BadToken("further audiences")
    if claims.get("azp", client_id) != client_id:
        raise BadToken("azp")
    came = claims.get("nonce")
    if not isinstance(came, str) or not hmac.compare_digest(came.encode(), nonce.encode()):
        raise BadToken("nonce")
    issued = claims["iat"]
    if isinstance(issued, bool) or not isinstance(issued, int | float) or not now - MAX_AGE <= issued <= now + SKEW:
        raise BadToken("iat")
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT:
        raise BadToken("sub")
