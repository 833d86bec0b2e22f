"""One sign-in at the provider, from the button to the way back.

What the way back must match — state, nonce, the PKCE verifier, where to go on, whose account is being linked — is in a
cookie that only this portal can open, for ten minutes. A state counts once, whatever happens to the cookie: it is noted
as spent before the code is exchanged.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from authlib.common.security import generate_token
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from sqlalchemy import Engine, delete
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from portal.config import ProviderKind
from portal.database import transaction
from portal.models.people import SignInStep
from portal.oidc import id_token, staff
from portal.oidc.id_token import BadToken
from portal.oidc.provider import Provider
from portal.oidc.staff import Claimed
from portal.people.sessions import hash_secret
from portal.sealing import Sealer

COOKIE = "schoolgate_provider"
CALLBACK = "/sign-in/oidc/callback"
SECONDS = 600
_PURPOSE = "oidc"
_MAX_NEXT = 1_000  # characters: the cookie stays under what browsers keep
_MAX_PARAMETER = 4_000


class Lost(Exception):
    """The way back does not belong to a sign-in that this browser began here, or that one is over."""


class Cancelled(Exception):
    """The person, or the provider, said no there."""


@dataclass(frozen=True, slots=True)
class Away:
    """A browser at the provider. `link`: the account that is being linked; 0 for a sign-in."""

    state: str
    nonce: str
    verifier: str
    next: str
    link: int
    until: int


@dataclass(frozen=True, slots=True)
class Begun:
    url: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Back:
    who: Claimed
    away: Away


def begin(provider: Provider, sealer: Sealer, redirect_uri: str, wanted: str, now: float, link: int = 0) -> Begun:
    """Return where to send the browser, and its cookie. Raises `ProviderTrouble`."""
    endpoint, config = provider.endpoints().authorization, provider.config
    away = Away(
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        verifier=generate_token(64),
        next=wanted if len(wanted) <= _MAX_NEXT else "/",
        link=link,
        until=int(now) + SECONDS,
    )
    more = {}
    if config.kind is ProviderKind.GOOGLE:
        more["hd"] = config.domains[0] if len(config.domains) == 1 else "*"
    url = prepare_grant_uri(
        endpoint,
        config.client_id,
        "code",
        redirect_uri,
        "openid email profile",
        away.state,
        nonce=away.nonce,
        code_challenge=create_s256_code_challenge(away.verifier),
        code_challenge_method="S256",
        response_mode="query",
        prompt="select_account",  # a shared computer: who was here before is not signed in by one click
        **more,
    )
    return Begun(str(url), sealer.seal(_PURPOSE, json.dumps(asdict(away)).encode()))


def opened(sealer: Sealer, cookie: str, now: float) -> Away | None:
    """Return what the browser's cookie holds; None when it is not ours or too old."""
    plain = sealer.open(_PURPOSE, cookie) if 0 < len(cookie) <= 4_096 else None
    if plain is None:
        return None
    try:
        away = Away(**json.loads(plain))
    except TypeError:  # of another release
        return None
    return away if now < away.until else None


def finish(
    engine: Engine,
    provider: Provider,
    sealer: Sealer,
    redirect_uri: str,
    cookie: str,
    came: Mapping[str, str],
    now: float,
) -> Back:
    """Return who came back. `came`: the parameters of the way back.

    Raises `Lost`, `Cancelled`, `CodeRefused`, `ProviderTrouble`, `BadToken` and `NotStaff`.
    """
    if came.get("error"):  # nothing is exchanged, nothing spent; not every provider sends the state along
        raise Cancelled
    away = opened(sealer, cookie, now)
    state = came.get("state", "")
    if away is None or not hmac.compare_digest(state.encode(), away.state.encode()):
        raise Lost
    if came.get("iss", provider.config.issuer) != provider.config.issuer:  # RFC 9207: an answer of another provider
        raise BadToken("iss of the answer")
    _spend(engine, away, now)
    code = came.get("code", "")
    if not 0 < len(code) <= _MAX_PARAMETER:
        raise Lost
    token = provider.exchange(code, away.verifier, redirect_uri)
    claims = id_token.read(provider, token, away.nonce, now)
    return Back(staff.claimed(provider.config, claims), away)


def _spend(engine: Engine, away: Away, now: float) -> None:
    spent = SignInStep(secret_hash=hash_secret(away.state), kind="oidc", expires_at=away.until)
    try:
        with transaction(engine) as session:
            session.execute(delete(SignInStep).where(col(SignInStep.expires_at) <= int(now)))
            if session.get(SignInStep, spent.secret_hash) is not None:
                raise Lost
            session.add(spent)
    except IntegrityError:  # the same way back, twice at once
        raise Lost from None
