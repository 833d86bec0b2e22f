"""What is asked of an identity provider, over the network: JSON documents, bounded in size and time.

No redirect is followed and no proxy of the environment used; only public addresses are connected to, unless the issuer
itself is on loopback. Every failure is `ProviderTrouble`; nothing that was sent or received stands in its sentence.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from blocklists.reach import Deadline, PrivateAddress, PublicTransport, UnknownHost, system_resolver
from portal.oidc.addresses import is_safe

MAX_BYTES = 256 * 1024
SECONDS = 8.0  # one exchange, however slowly it drips

Json = Mapping[str, object]


class ProviderTrouble(Exception):
    """The provider did not answer, or not as it must. `str()` is for the log."""


class Fetcher:
    """`loopback`: the issuer is on this machine (a trial, a test); then, and only then, private addresses are fine."""

    def __init__(self, loopback: bool, seconds: float = SECONDS) -> None:
        self._loopback = loopback
        self._seconds = seconds
        self._tls: ssl.SSLContext = httpx.create_ssl_context(trust_env=False)

    def get(self, url: str) -> Json:
        """Return the JSON object at `url`."""
        status, found = self._ask(httpx.Request("GET", url, headers=self._headers(), extensions=self._extensions()))
        if status != 200:
            raise ProviderTrouble(f"{urlsplit(url).hostname} answered with status {status}")
        return found

    def post(self, url: str, form: Mapping[str, str], basic: tuple[str, str] | None = None) -> tuple[int, Json]:
        """Send a form; return the status (200 or 4xx) and the JSON object. `basic`: user and password."""
        request = httpx.Request("POST", url, data=dict(form), headers=self._headers(), extensions=self._extensions())
        if basic is not None:
            request = next(httpx.BasicAuth(*basic).auth_flow(request))
        status, found = self._ask(request)
        if status != 200 and not 400 <= status < 500:
            raise ProviderTrouble(f"{urlsplit(url).hostname} answered with status {status}")
        return status, found

    def _headers(self) -> dict[str, str]:
        return {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "Schoolgate (sign-in)"}

    def _extensions(self) -> dict[str, object]:
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), self._seconds)
        return {"timeout": timeout}

    def _ask(self, request: httpx.Request) -> tuple[int, Json]:
        if not is_safe(str(request.url), self._loopback):
            raise ProviderTrouble("an address that is not https")
        transport = PublicTransport(
            Deadline(self._seconds), system_resolver, allow_private=self._loopback, tls=self._tls
        )
        try:
            with transport:
                response = transport.handle_request(request)
                try:
                    content = _bounded(response)
                finally:
                    response.close()
        except (httpx.HTTPError, httpx.InvalidURL, PrivateAddress, UnknownHost, ssl.SSLError, OSError) as error:
            raise ProviderTrouble(f"{request.url.host}: {type(error).__name__}") from None
        if response.status_code != 200 and not 400 <= response.status_code < 500:
            return response.status_code, {}
        return response.status_code, _object(content)


def _bounded(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ProviderTrouble("an answer in an encoding that was not asked for")
    content = bytearray()
    stream = response.iter_raw(16 * 1024)
    for part in stream:
        content += part
        if len(content) > MAX_BYTES:
            raise ProviderTrouble(f"an answer of more than {MAX_BYTES} bytes")
    return bytes(content)


def _object(content: bytes) -> Json:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ProviderTrouble("an answer that is no JSON") from None
    if not isinstance(found, dict):
        raise ProviderTrouble("an answer that is no JSON object")
    return found
