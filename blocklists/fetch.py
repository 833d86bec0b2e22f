"""Fetching one list: asks politely, believes little, and never loses the last good copy.

    url -> check -> connect to a checked address -> redirects, each checked -> bytes, counted while they come ->
    inflated, counted again -> no web page -> `accept` reads it whole -> the shelf

Every end is a value: `Fresh`, `Unchanged` or `Failed` with a code for metrics and a sentence for the page; whatever
fails, the copy on the shelf stays. Nothing is ever decided by the clock of the machine but ages and waits, and both
clocks and the sleep come in as arguments.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from enum import StrEnum
from io import BufferedWriter
from pathlib import Path

import httpx

from blocklists.formats.detect import HEAD, refuse_strangers
from blocklists.formats.findings import BadList
from blocklists.inflate import BadEncoding, CutShort, TooLarge, gunzip, unzstd
from blocklists.parse import Parsed, read_chunks
from blocklists.reach import Deadline, PrivateAddress, PublicTransport, Resolver, UnknownHost, system_resolver
from blocklists.shelf import Kept, Shelf

Accept = Callable[[Path], Parsed]
"""Reads a whole new copy; raises `BadList` when it is not the list that was wanted (`catalog.judge`)."""

USER_AGENT = "Schoolgate (list fetcher)"
_ENCODINGS = "gzip, zstd"
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MAX_VALIDATOR = 1024  # characters of an ETag that are worth sending back


class Failure(StrEnum):
    """Why a fetch gave nothing new: a closed set, for metrics."""

    BAD_ADDRESS = "bad-address"
    NOT_HTTPS = "not-https"
    PRIVATE_ADDRESS = "private-address"
    UNKNOWN_HOST = "unknown-host"
    NO_CONNECTION = "no-connection"  # refused, unreachable, or TLS could not be agreed on
    TIMEOUT = "timeout"
    HTTP_STATUS = "http-status"
    BUSY = "busy"  # 429 or 503: asked to come later
    REDIRECTS = "redirects"
    CUT_SHORT = "cut-short"
    BAD_ENCODING = "bad-encoding"
    TOO_LARGE = "too-large"
    NOT_A_LIST = "not-a-list"
    BAD_ANSWER = "bad-answer"  # not HTTP
    DISK = "disk"


OF_ONE_LIST = frozenset({Failure.NOT_A_LIST, Failure.TOO_LARGE})  # another list of the same address may be better off
_TRANSIENT = frozenset(
    {Failure.UNKNOWN_HOST, Failure.NO_CONNECTION, Failure.TIMEOUT, Failure.BUSY, Failure.CUT_SHORT, Failure.BAD_ANSWER}
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, and counts. `total` bounds one attempt, `longest_wait` the pause before the next."""

    connect: float = 10.0
    read: float = 30.0
    total: float = 600.0
    redirects: int = 5
    attempts: int = 3
    first_wait: float = 2.0
    longest_wait: float = 60.0


@dataclass(frozen=True, slots=True)
class Reach:
    """Where fetches may go. The defaults are for lists of the public Internet."""

    allow_private: bool = False
    allow_http: bool = False
    resolve: Resolver = system_resolver
    tls: ssl.SSLContext | None = None  # None: the certificates that ship with the HTTP library


@dataclass(frozen=True, slots=True)
class Fresh:
    """New bytes, read whole and kept."""

    kept: Kept
    parsed: Parsed


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The source says that the copy on the shelf is still its list."""

    kept: Kept


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing new. `kept` is the copy that stays in use, if there is one; `retry_after` what the server asked for."""

    code: Failure
    detail: str
    kept: Kept | None = None
    status: int | None = None
    attempts: int = 1
    retry_after: float | None = None


Outcome = Fresh | Unchanged | Failed


class _Stop(Exception):
    """The end of one attempt without a list."""

    def __init__(self, code: Failure, detail: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.failed = Failed(code, detail, None, status, 1, retry_after)


class Fetcher:
    """Fetches lists onto a shelf, one at a time."""

    def __init__(
        self,
        shelf: Shelf,
        reach: Reach | None = None,
        limits: Limits | None = None,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._shelf = shelf
        self._reach = reach if reach is not None else Reach()
        self._limits = limits if limits is not None else Limits()
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep
        self._jitter = jitter

    def fetch(self, id: str, url: str, max_bytes: int, accept: Accept) -> Outcome:
        """Ask for list `id` at `url`; keep it when `accept` takes it. Tries again after passing failures."""
        kept = self._shelf.kept(id)
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._attempt(id, url, max_bytes, accept, kept)
            except _Stop as stop:
                failed = stop.failed
            wait = self._wait(attempt, failed)
            if failed.code not in _TRANSIENT or attempt >= self._limits.attempts or wait is None:
                return Failed(failed.code, failed.detail, kept, failed.status, attempt, failed.retry_after)
            self._sleep(wait)

    def share(self, id: str, before: Outcome, max_bytes: int, accept: Accept) -> Outcome:
        """Keep as list `id` what was just fetched from its address for another list, which may have failed: nobody is
        asked twice."""
        known = self._shelf.kept(id)
        if isinstance(before, Failed):
            return replace(before, kept=known)
        of = before.kept
        try:
            if known is not None and known.url == of.url and known.digest == of.digest:
                return Unchanged(self._shelf.confirm(known, of.checked_at, of.etag, of.last_modified))
            with _translated(max_bytes), self._shelf.writing(id) as (new, file):
                _write(_capped(self._shelf.read(of), max_bytes), file)
                return self._keep(replace(of, id=id), new, accept)
        except _Stop as stop:
            return Failed(stop.failed.code, stop.failed.detail, known)

    def take_file(self, id: str, path: Path, max_bytes: int, accept: Accept) -> Outcome:
        """Keep a copy of the file at `path` as list `id`, by the same rules as one that was fetched."""
        kept = self._shelf.kept(id)
        try:
            with _translated(max_bytes), self._shelf.writing(id) as (new, file):
                digest, size = _write(_capped(read_chunks(path), max_bytes), file)
                return self._keep(Kept(id, path.name, digest, size, self._now(), self._now()), new, accept)
        except _Stop as stop:
            return Failed(stop.failed.code, stop.failed.detail, kept)

    def _wait(self, attempt: int, failed: Failed) -> float | None:
        """Seconds until the next attempt, or None when the server wants a longer pause than this fetch should last."""
        wait = min(self._limits.longest_wait, self._limits.first_wait * 4.0 ** (attempt - 1)) * (1 + self._jitter() / 4)
        if failed.retry_after is None:
            return wait
        return max(wait, failed.retry_after) if failed.retry_after <= self._limits.longest_wait else None

    def _attempt(self, id: str, url: str, max_bytes: int, accept: Accept, kept: Kept | None) -> Outcome:
        deadline = Deadline(self._limits.total, self._monotonic)
        known = kept if kept is not None and kept.url == url else None
        with (
            _translated(max_bytes),
            PublicTransport(
                deadline, self._reach.resolve, allow_private=self._reach.allow_private, tls=self._reach.tls
            ) as transport,
        ):
            response = self._followed(transport, url, known)
            try:
                etag, modified = (_validator(response, name) for name in ("etag", "last-modified"))
                if response.status_code == 304 and known is not None:
                    return Unchanged(self._shelf.confirm(known, self._now(), etag, modified))
                self._refuse(response, max_bytes)
                with self._shelf.writing(id) as (new, file):
                    digest, size = _write(_body(response, max_bytes), file)
                    if known is not None and known.digest == digest:
                        return Unchanged(self._shelf.confirm(known, self._now(), etag, modified))
                    now = self._now()
                    return self._keep(Kept(id, url, digest, size, now, now, etag, modified), new, accept)
            finally:
                response.close()

    def _keep(self, kept: Kept, path: Path, accept: Accept) -> Fresh:
        if not kept.size:
            raise _Stop(Failure.NOT_A_LIST, "the answer is empty")
        with path.open("rb") as file:
            refuse_strangers(file.read(HEAD))
        parsed = accept(path)
        return Fresh(self._shelf.keep(path, kept), parsed)

    def _followed(self, transport: PublicTransport, url: str, known: Kept | None) -> httpx.Response:
        """The answer after redirects, each of them held to the same rules as the first address."""
        for _ in range(self._limits.redirects + 1):
            response = transport.handle_request(self._request(url, known))
            if response.status_code not in _REDIRECTS:
                return response
            response.close()
            target = response.headers.get("location", "")
            if not target:
                raise _Stop(Failure.REDIRECTS, "a redirect that leads nowhere", response.status_code)
            try:
                url = str(httpx.URL(url).join(target))
            except (httpx.InvalidURL, ValueError):
                raise _Stop(Failure.REDIRECTS, "a redirect to what is no web address", response.status_code) from None
        raise _Stop(Failure.REDIRECTS, f"more than {self._limits.redirects} redirects")

    def _request(self, url: str, known: Kept | None) -> httpx.Request:
        try:
            address = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            raise _Stop(Failure.BAD_ADDRESS, f"{url[:200]!r} is not a web address") from None
        if address.scheme != "https" and not (address.scheme == "http" and self._reach.allow_http):
            raise _Stop(Failure.NOT_HTTPS, f"{url[:200]} is not fetched: only https:// is")
        if not address.host or address.userinfo:
            raise _Stop(Failure.BAD_ADDRESS, f"{address.host or url[:200]!r}: an address has a host, and no name in it")
        headers = {"user-agent": USER_AGENT, "accept": "*/*", "accept-encoding": _ENCODINGS, "connection": "close"}
        if known is not None and known.etag:
            headers["if-none-match"] = known.etag
        if known is not None and known.last_modified:
            headers["if-modified-since"] = known.last_modified
        limits = self._limits
        timeout = {"connect": limits.connect, "read": limits.read, "write": limits.read, "pool": limits.connect}
        return httpx.Request("GET", address, headers=headers, extensions={"timeout": timeout})

    def _refuse(self, response: httpx.Response, max_bytes: int) -> None:
        status = response.status_code
        if status in (429, 503):
            detail = f"the server asks to come later (status {status})"
            raise _Stop(Failure.BUSY, detail, status, self._retry_after(response))
        if status >= 500:
            raise _Stop(Failure.BUSY, f"the server is in trouble (status {status})", status)
        if status != 200:
            gone = " (is the list still there?)" if status in (404, 410) else ""
            raise _Stop(Failure.HTTP_STATUS, f"the server answered with status {status}{gone}", status)
        length = response.headers.get("content-length", "")
        if length.isascii() and length.isdigit() and len(length) < 20 and int(length) > max_bytes:
            raise TooLarge

    def _retry_after(self, response: httpx.Response) -> float | None:
        text = response.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit() and len(text) < 10:
            return float(text)
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - self._now())
        except (ValueError, OverflowError, OSError):
            return None


def _validator(response: httpx.Response, name: str) -> str:
    value: str = response.headers.get(name, "")
    return value if value.isascii() and value.isprintable() and len(value) <= _MAX_VALIDATOR else ""


def _body(response: httpx.Response, max_bytes: int) -> Iterator[bytes]:
    """The bytes of the answer, inflated, never more than `max_bytes` on the wire or after it."""
    raw = _capped(response.iter_raw(), max_bytes)
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return raw
    if encoding in ("gzip", "x-gzip"):
        return gunzip(raw, max_bytes)
    if encoding == "zstd":
        return unzstd(raw, max_bytes)
    raise BadEncoding(f"the answer is coded as {encoding[:40]!r}, which was not asked for")


def _capped(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise TooLarge
        yield chunk


def _write(chunks: Iterator[bytes], file: BufferedWriter) -> tuple[str, int]:
    digest = hashlib.sha256()
    size = 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        file.write(chunk)
    file.flush()
    return digest.hexdigest(), size


@contextlib.contextmanager
def _translated(max_bytes: int) -> Iterator[None]:
    """Everything that can end an attempt, as `_Stop`."""
    try:
        yield
    except Exception as error:
        if (stop := _as_stop(error, max_bytes)) is None:
            raise
        raise stop from None


def _as_stop(error: Exception, max_bytes: int) -> _Stop | None:
    match error:
        case PrivateAddress():
            return _Stop(Failure.PRIVATE_ADDRESS, str(error))
        case UnknownHost():
            return _Stop(Failure.UNKNOWN_HOST, str(error))
        case httpx.TimeoutException():
            return _Stop(Failure.TIMEOUT, "the server took too long")
        case httpx.ConnectError():
            return _Stop(Failure.NO_CONNECTION, f"no connection could be made: {error}")
        case httpx.NetworkError():
            return _Stop(Failure.CUT_SHORT, "the connection broke")
        case httpx.RemoteProtocolError():
            if "complete message" in str(error):
                return _Stop(Failure.CUT_SHORT, "the answer ended before its end")
            return _Stop(Failure.BAD_ANSWER, f"the server does not speak proper HTTP: {error}")
        case httpx.HTTPError():
            return _Stop(Failure.BAD_ANSWER, f"the answer cannot be read: {error}")
        case CutShort():
            return _Stop(Failure.CUT_SHORT, str(error))
        case BadEncoding():
            return _Stop(Failure.BAD_ENCODING, str(error))
        case TooLarge():
            return _Stop(Failure.TOO_LARGE, str(error) or f"it is larger than {max_bytes:,} bytes")
        case BadList():
            return _Stop(Failure.NOT_A_LIST, str(error))
        case OSError():
            return _Stop(Failure.DISK, f"it cannot be read or kept on disk: {error.strerror or error}")
    return None
