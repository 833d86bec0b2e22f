"""How a node fetches what it lacks: compressed, and going on where it was cut.

A policy comes as zstd (RFC 8878) against the policy that the node holds, which it then resembles to a few bytes; a base
comes as one zstd file whose beginning is kept over a cut, a killed process or a restart, and is continued with a range
(RFC 9110 §14). A portal that knows neither sends plain bytes. Nothing here is believed: the store compares digests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import httpx
import zstandard

from blocklists.base import MAX_BYTES as BASE_LIMIT
from blocklists.policy_codec import MAX_BYTES as POLICY_LIMIT
from resolver import durable
from resolver.delivery.enrolment import said
from resolver.delivery.policy_store import Refused

DOWNLOADS = "downloads"
ZSTD = "application/zstd"
_ACCEPT = {"Accept": f"{ZSTD}, */*;q=0.1"}


class Unreachable(Exception):
    """The portal did not answer, or not now: ask again later."""


class Rejected(Exception):
    """The portal answered and said no: asking the same again would not help."""


def check(status: int, reason: str) -> None:
    """Return when `status` is a success. Raises `Unreachable` or `Rejected`."""
    if status in (408, 425, 429) or status >= 500:
        raise Unreachable(f"{status}: {reason}")
    if status >= 300:
        raise Rejected(f"{status}: {reason}")


class Transfer:
    """Fetches objects of one portal. `client` carries the node's credential; `api` ends with `/node`."""

    def __init__(self, client: httpx.Client, api: str, state: Path) -> None:
        self._client = client
        self._api = api
        self._folder = state / DOWNLOADS

    def policy(self, digest: str, held: tuple[str, bytes] | None) -> bytes:
        """Return the policy bytes of this digest; `held`: digest and bytes of one that the portal may refer to.

        Raises `Refused`, `Unreachable`, `Rejected` or `httpx.HTTPError`.
        """
        parts: list[bytes] = []
        answer = self._get(digest, {} if held is None else {"against": held[0]}, {}, parts.append, POLICY_LIMIT)
        body = b"".join(parts)
        if answer.headers.get("Content-Type") != ZSTD:
            return body
        against = answer.headers.get("Dictionary")
        words = None
        if against is not None:
            if held is None or against != held[0]:
                raise Refused(f"{digest[:16]}… came against a policy that this node does not hold", passing=True)
            words = zstandard.ZstdCompressionDict(held[1], dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        try:
            if not 0 <= zstandard.get_frame_parameters(body).content_size <= POLICY_LIMIT:
                raise Refused(f"{digest[:16]}… is larger than {POLICY_LIMIT} bytes")
            return zstandard.ZstdDecompressor(dict_data=words).decompress(body, max_output_size=POLICY_LIMIT)
        except zstandard.ZstdError as error:
            raise Refused(f"{digest[:16]}… cannot be unpacked: {error}", passing=True) from None

    def base(self, digest: str, file: BinaryIO) -> None:
        """Write the base of this digest to `file`. What came before a cut is not fetched again. Raises as `policy`."""
        durable.private_folder(self._folder)
        partial, mark = self._folder / f"{digest}.zst", self._folder / f"{digest}.etag"
        self._forget_others(digest)
        have = partial.stat().st_size if partial.exists() and mark.exists() else 0
        ranged = {"Range": f"bytes={have}-", "If-Range": mark.read_text()} if have else {}
        plain = False
        with partial.open("r+b" if have else "wb") as kept:

            def begin(answer: httpx.Response) -> None:
                nonlocal plain
                plain = answer.headers.get("Content-Type") != ZSTD
                kept.seek(have if answer.status_code == 206 else 0)
                kept.truncate()
                mark.write_text(answer.headers.get("ETag", ""))

            try:
                self._get(digest, {}, ranged, lambda data: (file if plain else kept).write(data), BASE_LIMIT, begin)
            except Rejected as error:
                if str(error).startswith("416"):  # what is kept is no beginning of what there is
                    mark.unlink(missing_ok=True)
                    raise Unreachable(str(error)) from None
                raise
        if not plain:
            _unpack(partial, file, digest)
        partial.unlink(missing_ok=True)
        mark.unlink(missing_ok=True)

    def _get(
        self,
        digest: str,
        params: dict[str, str],
        headers: dict[str, str],
        take: Callable[[bytes], object],
        limit: int,
        begin: Callable[[httpx.Response], None] = lambda _: None,
    ) -> httpx.Response:
        size = 0
        wanted = {**_ACCEPT, **headers}
        with self._client.stream("GET", f"{self._api}/objects/{digest}", params=params, headers=wanted) as answer:
            if answer.status_code in (404, 410):
                raise Refused(f"the portal offers {digest[:16]}… but does not have it", passing=True)
            check(answer.status_code, "" if answer.status_code in (200, 206) else said(answer.read()))
            begin(answer)
            for chunk in answer.iter_bytes():
                size += len(chunk)
                if size > limit:
                    raise Refused(f"{digest[:16]}… is larger than {limit} bytes")
                take(chunk)
        return answer

    def _forget_others(self, digest: str) -> None:
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                if not path.name.startswith(digest):
                    path.unlink(missing_ok=True)


def _unpack(packed: Path, file: BinaryIO, digest: str) -> None:
    """Whatever cannot be unpacked is forgotten: the next try begins anew."""
    size = 0
    try:
        with packed.open("rb") as source, zstandard.ZstdDecompressor().stream_reader(source) as plain:
            while chunk := plain.read(1 << 20):
                size += len(chunk)
                if size > BASE_LIMIT:
                    raise Refused(f"{digest[:16]}… is larger than {BASE_LIMIT} bytes")
                file.write(chunk)
    except zstandard.ZstdError as error:
        raise Refused(f"{digest[:16]}… is damaged: it cannot be unpacked ({error})", passing=True) from None
    finally:
        packed.unlink(missing_ok=True)
