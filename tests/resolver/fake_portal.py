"""A district's signing key with real bases and policies, and a small real portal on loopback that offers them."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from blocklists import signature
from blocklists.base import ListKind
from blocklists.compile import Source, compile_base
from blocklists.exchange import Offer
from blocklists.policy import Audience, Category, Group, Policy
from blocklists.policy_codec import dump
from resolver.delivery.policy_store import Pin

POLICY = Policy(
    format=1,
    version=1,
    district="4414",
    base="0" * 64,
    created_at=1_790_000_000,
    zone="America/Los_Angeles",
    portal="https://portal.example",
    audit_head="",
    categories=(Category("social-media", "Social media", locked=False),),
    groups=(Group("lab", "edison", Audience.STUDENTS, ("127.0.0.0/8",), (), ("social-media",), ()),),
    grants=(),
    corrections=(),
    protected=(),
    brakes=(),
    blocks=(),
    own=(),
)


@cache
def base_of(*names: str) -> bytes:
    return compile_base([Source("seed", "Seed", "social-media", ListKind.LIST, sorted(names))])


@dataclass
class District:
    """Signs what it is asked to sign; keeps every object by digest, as a portal does."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    objects: dict[str, bytes] = field(default_factory=dict)

    @property
    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def pin(self) -> Pin:
        return Pin("4414", self.public_key)

    def publish(self, version: int, base: bytes | None = None, **changes: Any) -> tuple[Offer, bytes]:
        """Return the offer of a signed policy with these changes, and its bytes."""
        base = base_of("instagram.com") if base is None else base
        base_digest = signature.digest(base)
        self.objects[base_digest] = base
        return self.sign(dump(replace(POLICY, version=version, base=base_digest, **changes)), version, base_digest)

    def sign(self, data: bytes, version: int, base: str) -> tuple[Offer, bytes]:
        digest = signature.digest(data)
        self.objects[digest] = data
        offer = Offer(version=version, digest=digest, signature=signature.sign(data, self.key), base=base)
        return offer, data

    def source(self, digest: str, file: BinaryIO) -> None:
        file.write(self.objects[digest])


def until(true: Callable[[], Any], seconds: float = 20.0, what: str = "") -> Any:
    """Return the first true value of `true()`; fail after `seconds`, a bound that a healthy run never nears."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what or true}"
        time.sleep(0.01)
    return value


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A node that was killed in the middle of a request is what these tests are about."""


class FakePortal:
    """The node routes of a portal. What nodes said is in `acks`, `nacks`, `statuses`."""

    def __init__(
        self, district: District, port: int = 0, credential: str = "secret", tls: ssl.SSLContext | None = None
    ) -> None:
        self.district = district
        self.credential = credential
        self.token = "sgn_" + "t" * 24 + "." + signature.fingerprint(district.public_key)
        self.enrolled_key = district.public_key
        self.offer: Offer | None = None
        self.acks: list[dict[str, Any]] = []
        self.nacks: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.last_ids: list[str | None] = []
        self.fetched: list[str] = []
        self.packs = False  # compresses what it sends
        self.etag = '"1"'
        self.cut_after: int | None = None  # bytes of a compressed body, after which the connection closes
        self.sent: list[tuple[int, int]] = []  # status and length of each compressed body
        self.given_back: list[tuple[str, bytes, str]] = []  # digest, zstd body, signature
        self.recall = ""  # digest of a policy to ask back
        self.reach: dict[str, Any] = {}  # the answer to every heartbeat
        self.refuse_acks = 0  # answer this many acks with 503
        self.open_streams = 0
        self._changed = threading.Condition()
        self._stopped = False
        self.server = _Server(("127.0.0.1", port), _handler(self))
        self.port = self.server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def publish(self, version: int, base: bytes | None = None, **changes: Any) -> Offer:
        offer, _ = self.district.publish(version, base, **changes)
        self.give(offer)
        return offer

    def give(self, offer: Offer) -> None:
        with self._changed:
            self.offer = offer
            self._changed.notify_all()

    def acked(self, offer: Offer) -> bool:
        return {"version": offer.version, "digest": offer.digest} in self.acks

    def stop(self) -> None:
        """Close the listening socket and cut every stream."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self.server.shutdown()
        self.server.server_close()

    def stream(self, write: Callable[[bytes], None]) -> None:
        sent: list[Offer | None] = [None]
        self.open_streams += 1
        try:
            write(b": hello\n\n")
            if self.recall:
                write(f'event: recall\ndata: {{"digest": "{self.recall}"}}\n\n'.encode())
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._stopped or self.offer != sent[0], timeout=0.5)
                    if self._stopped:
                        return
                    offer = self.offer
                if offer is not None and offer != sent[0]:
                    data = offer.model_dump_json()
                    write(f"id: {offer.version}\nevent: offer\ndata: {data}\n\n".encode())
                    sent[0] = offer
                else:
                    write(b": still here\n\n")
        finally:
            self.open_streams -= 1


def _handler(portal: FakePortal) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, status: int, body: bytes = b"{}") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _known(self, bearer: str) -> bool:
            if self.headers.get("Authorization") == f"Bearer {bearer}":
                return True
            self._answer(401, b'{"title": "Unauthorized", "detail": "unknown credential"}')
            return False

        def do_GET(self) -> None:
            if not self._known(portal.credential):
                return
            if self.path == "/api/v1/node/stream":
                portal.last_ids.append(self.headers.get("Last-Event-ID"))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                with contextlib.suppress(OSError):
                    portal.stream(lambda data: (self.wfile.write(data), self.wfile.flush())[1])
                return
            asked = urlsplit(self.path)
            digest = asked.path.rpartition("/")[2]
            portal.fetched.append(digest)
            found = portal.district.objects.get(digest)
            if found is None or not portal.packs or "application/zstd" not in self.headers.get("Accept", ""):
                self._answer(404 if found is None else 200, found or b'{"detail": "no such object"}')
                return
            self._packed(found, parse_qs(asked.query).get("against", [""])[0])

        def _packed(self, found: bytes, against: str) -> None:
            """As a portal sends it: against a known policy, or continued from a byte; cut short when told to."""
            known = portal.district.objects.get(against)
            words = None if known is None else zstandard.ZstdCompressionDict(known, dict_type=1)
            body = zstandard.ZstdCompressor(dict_data=words, write_checksum=True).compress(found)
            start, status = 0, 200
            if "Range" in self.headers and self.headers["If-Range"] == portal.etag:
                start, status = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-")), 206
            portal.sent.append((status, len(body) - start))
            self.send_response(status)
            self.send_header("Content-Type", "application/zstd")
            self.send_header("ETag", portal.etag)
            if known is not None:
                self.send_header("Dictionary", against)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            end = len(body) if portal.cut_after is None else start + portal.cut_after
            self.wfile.write(body[start:end])
            if end < len(body):
                self.close_connection = True

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            portal.given_back.append((self.path.rpartition("/")[2], body, self.headers["Signature"]))
            self._answer(204, b"")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/api/v1/node/enroll":
                if self._known(portal.token):
                    answer = {
                        "node": 7,
                        "credential": portal.credential,
                        "district": "4414",
                        "public_key": portal.enrolled_key.hex(),
                    }
                    self._answer(201, json.dumps(answer).encode())
                return
            if not self._known(portal.credential):
                return
            if self.path == "/api/v1/node/acks" and portal.refuse_acks:
                portal.refuse_acks -= 1
                self._answer(503)
                return
            kind = {"acks": portal.acks, "nacks": portal.nacks, "status": portal.statuses}
            kind[self.path.rpartition("/")[2]].append(body)
            self._answer(200, json.dumps(portal.reach).encode())

    return Handler
