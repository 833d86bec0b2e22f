"""One identity provider: its endpoints and keys, kept for a while, and the exchange of a code for an ID token.

Thread-safe. One thread fetches while the others wait; a provider that fails is left alone for a few seconds, so that
its silence cannot hold every thread of the portal. Documents that are too old are fetched again; what was there serves
on while that fails, up to a day.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from portal.config import OidcConfig
from portal.oidc.addresses import is_loopback, is_safe
from portal.oidc.fetching import Fetcher, Json, ProviderTrouble

FRESH = 3_600.0  # seconds
STALE = 86_400.0
REFETCH = 10.0  # at most this often for a key that is not known
PAUSE = 5.0  # after a failure
AT_ONCE = 8  # exchanges
_MAX_KEYS = 50
_MAX_TOKEN = 16 * 1024
_MODULUS = (342, 1_366)  # characters of base64url: RSA with 2,048 to 8,192 bits


class CodeRefused(Exception):
    """The provider does not take this code: used, expired, of another client, or with another verifier."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    authorization: str
    token: str
    jwks: str
    posts_secret: bool  # the client's secret goes into the form; else HTTP Basic


Keys = Mapping[str, Key]
"""By `kid`; one without a kid is under the empty text."""


class Provider:
    """`clock`: seconds that only go forward."""

    def __init__(self, config: OidcConfig, fetcher: Fetcher, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self._fetcher = fetcher
        self._loopback = is_loopback(config.issuer)
        self._clock = clock
        self._lock = threading.Lock()
        self._gate = threading.BoundedSemaphore(AT_ONCE)
        self._endpoints: tuple[float, Endpoints] | None = None
        self._keys: tuple[float, Keys] | None = None
        self._failed_at: float | None = None

    def endpoints(self) -> Endpoints:
        """Return the discovery document's endpoints. Raises `ProviderTrouble`."""
        with self._alone():
            return self._known_endpoints()

    def key(self, kid: str) -> Key:
        """Return the key of this id, fetching the set once more when it is not there. With an empty `kid`: the only
        key. Raises `ProviderTrouble`, and `KeyError` when there is none."""
        with self._alone():
            at, keys = self._known_keys()
            if kid and kid not in keys and self._clock() - at >= REFETCH:
                self._keys = None
                at, keys = self._known_keys()
        if not kid:
            (only,) = keys.values() if len(keys) == 1 else (None,)
            if only is None:
                raise KeyError(kid)
            return only
        return keys[kid]

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> str:
        """Return the ID token for a code. Raises `CodeRefused` and `ProviderTrouble`."""
        endpoints = self.endpoints()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
            "client_id": self.config.client_id,
        }
        basic = None
        if endpoints.posts_secret:
            form["client_secret"] = self.config.client_secret
        else:  # RFC 6749, 2.3.1: both parts form-encoded first
            basic = quote(self.config.client_id, safe=""), quote(self.config.client_secret, safe="")
        if not self._gate.acquire(timeout=5):
            raise ProviderTrouble("too many exchanges at once")
        try:
            status, found = self._fetcher.post(endpoints.token, form, basic)
        finally:
            self._gate.release()
        if status != 200:
            if found.get("error") == "invalid_grant":
                raise CodeRefused
            raise ProviderTrouble(f"the token endpoint answered {status} {_word(found.get('error'))}")
        token = found.get("id_token")
        if not isinstance(token, str) or not 0 < len(token) <= _MAX_TOKEN:
            raise ProviderTrouble("the token endpoint sent no ID token")
        return token

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=10):
            raise ProviderTrouble("waited too long for another thread's fetch")
        try:
            yield
        finally:
            self._lock.release()

    def _known_endpoints(self) -> Endpoints:
        known = self._endpoints
        if known is not None and self._clock() - known[0] < FRESH:
            return known[1]
        try:
            found = self._endpoints_of(self._fetch(f"{self.config.issuer}/.well-known/openid-configuration"))
        except ProviderTrouble:
            if known is not None and self._clock() - known[0] < STALE:
                return known[1]
            raise
        self._endpoints = self._clock(), found
        return found

    def _known_keys(self) -> tuple[float, Keys]:
        known = self._keys
        if known is not None and self._clock() - known[0] < FRESH:
            return known
        try:
            found = _keys_of(self._fetch(self._known_endpoints().jwks))
        except ProviderTrouble:
            if known is not None and self._clock() - known[0] < STALE:
                return known
            raise
        self._keys = self._clock(), found
        return self._keys

    def _fetch(self, url: str) -> Json:
        if self._failed_at is not None and self._clock() - self._failed_at < PAUSE:
            raise ProviderTrouble("it failed a moment ago")
        try:
            found = self._fetcher.get(url)
        except ProviderTrouble:
            self._failed_at = self._clock()
            raise
        self._failed_at = None
        return found

    def _endpoints_of(self, document: Json) -> Endpoints:
        if document.get("issuer") != self.config.issuer:
            raise ProviderTrouble("the discovery document is another issuer's")
        methods = document.get("token_endpoint_auth_methods_supported")
        return Endpoints(
            authorization=self._address(document, "authorization_endpoint"),
            token=self._address(document, "token_endpoint"),
            jwks=self._address(document, "jwks_uri"),
            posts_secret=isinstance(methods, list) and "client_secret_post" in methods,
        )

    def _address(self, document: Json, name: str) -> str:
        url = document.get(name)
        if not isinstance(url, str) or not is_safe(url, self._loopback):
            raise ProviderTrouble(f"the discovery document's {name} is no https address")
        return url


def _keys_of(document: Json) -> Keys:
    """The public signing keys of a set; others are passed over."""
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > _MAX_KEYS:
        raise ProviderTrouble("the key set holds no list of keys, or too many")
    keys: dict[str, Key] = {}
    for data in listed:
        if not isinstance(data, dict) or data.get("kty") not in ("RSA", "EC") or data.get("use", "sig") != "sig":
            continue
        kid, modulus = data.get("kid", ""), data.get("n")
        if not isinstance(kid, str) or len(kid) > 200:
            continue
        if data["kty"] == "RSA" and not (isinstance(modulus, str) and _MODULUS[0] <= len(modulus) <= _MODULUS[1]):
            continue
        try:
            keys.setdefault(kid, JWKRegistry.import_key(data))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return keys


def _word(text: object) -> str:
    return text[:40] if isinstance(text, str) and text.isidentifier() else ""
