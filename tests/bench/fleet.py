"""200 simulated nodes on one portal process: from the click to the last node's ack.

Each node follows its own stream, fetches each policy against the one that it holds, unpacks it, compares the digest,
verifies the signature and acknowledges. They share one process, and what they parsed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import zstandard

from blocklists import policy_codec
from blocklists.exchange import Offer
from blocklists.signature import verify
from tests.bench import corpus, peers, populated
from tests.bench.delivery import approvals, rounds
from tests.bench.ours import make_base, schoolgate

NODES = 200
COUNT = 30
GRANTS = 1_000
NAMES = 10_000
BAR = (2_000, 5_000)  # ms, p50 and p99
PORTS = (5691, 5693, 8693)
PATIENCE = 120.0


def main(nodes: int = NODES, count: int = COUNT) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="schoolgate-bench-") as text:
        folder = Path(text)
        base = folder / "bench.base"
        make_base(base, corpus.listed(NAMES))
        data = folder / "data"
        with (
            peers.authority(folder, PORTS[0], corpus.open_names(10)),
            schoolgate(data, PORTS[1], PORTS[2], PORTS[0], 1, base, filled=populated.grants(GRANTS)) as ours,
            contextlib.closing(populated.Receipts(data)) as receipts,
            _simulated(data, ours.web, populated.nodes(data, nodes), receipts),
        ):
            approve = approvals(ours, count + 2)
            rounds(receipts, approve[:2], nodes + 1)
            found = rounds(receipts, approve[2:], nodes + 1)
    p50, p99 = BAR
    verdict = "met" if found.p50() <= p50 and found.p99() <= p99 else "MISSED"
    print(
        f"\n{nodes} simulated nodes and a real one, {GRANTS:,} live grants, one portal process; click to the last ack:"
    )
    print(f"  {count} approvals: {found}; bar p50 {p50}, p99 {p99}: {verdict}")


@contextlib.contextmanager
def _simulated(data: Path, web: int, credentials: list[str], receipts: populated.Receipts):
    words = [sys.executable, "-m", "tests.bench.fleet", str(web)]
    public = json.loads((data / "node" / "identity.json").read_text())["public_key"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps({"credentials": credentials, "public_key": public}) + "\n")
        process.stdin.flush()
        deadline = time.monotonic() + PATIENCE
        while receipts.acked_ms(receipts.newest_version(), len(credentials)) is None:
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError("the simulated nodes did not come up")
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


@dataclass
class _Shared:
    """What the nodes of this process have in common."""

    web: int
    public_key: bytes
    parsed: dict[str, object]


class _Connection:
    """HTTP/1.1 over one socket, one call after the other: just enough for a portal that is ours."""

    def __init__(self, web: int, credential: str) -> None:
        self._web = web
        self._head = f"Host: 127.0.0.1:{web}\r\nAuthorization: Bearer {credential}\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, line: str, body: bytes = b"", more: str = "") -> tuple[int, dict[str, str], bytes]:
        first = b""
        while not first:  # a connection that was idle for too long is opened anew
            with contextlib.suppress(ConnectionError):
                reader = await self.begin(line, body, more)
                first = await reader.readline()
            self._streams = self._streams if first else None
        status = int(first.split()[1])
        headers = {}
        while (header := await reader.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode().partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        return status, headers, await reader.readexactly(length) if length else b""

    async def begin(self, line: str, body: bytes = b"", more: str = "") -> asyncio.StreamReader:
        if self._streams is None or self._streams[0].at_eof():
            self._streams = await asyncio.open_connection("127.0.0.1", self._web, limit=1 << 20)
        reader, writer = self._streams
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        writer.write(f"{line} HTTP/1.1\r\n{self._head}{length}{more}\r\n".encode() + body)
        return reader


async def _node(shared: _Shared, credential: str) -> None:
    calls = _Connection(shared.web, credential)
    held: tuple[str, bytes] | None = None
    while True:
        stream = _Connection(shared.web, credential)  # kept: its socket closes with it
        reader = await stream.begin("GET /api/v1/node/stream")
        while line := await reader.readline():
            if not line.startswith(b"data: {"):
                continue
            offer = Offer.model_validate_json(line[6:])
            held = offer.digest, await _policy(shared, calls, offer, held)
            ack = json.dumps({"version": offer.version, "digest": offer.digest}).encode()
            status, _, said = await calls.call("POST /api/v1/node/acks", ack)
            if status != 204:
                raise RuntimeError(f"ack of {offer.version}: {status} {said!r}")
        await asyncio.sleep(0.5)


async def _policy(shared: _Shared, calls: _Connection, offer: Offer, held: tuple[str, bytes] | None) -> bytes:
    against = "" if held is None else f"?against={held[0]}"
    address = f"GET /api/v1/node/objects/{offer.digest}{against}"
    status, headers, body = await calls.call(address, more="Accept: application/zstd\r\n")
    if status != 200:
        raise RuntimeError(f"object {offer.digest}: {status}")
    known = held[1] if held is not None and headers.get("dictionary") == held[0] else None
    words = None if known is None else zstandard.ZstdCompressionDict(known, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    policy = zstandard.ZstdDecompressor(dict_data=words).decompress(body)
    if hashlib.sha256(policy).hexdigest() != offer.digest:
        raise RuntimeError("another policy came than was offered")
    verify(policy, offer.signature, shared.public_key)
    if offer.digest not in shared.parsed:
        shared.parsed.clear()
        shared.parsed[offer.digest] = policy_codec.load(policy)
    return policy


async def _follow() -> None:
    told = json.loads(sys.stdin.readline())
    shared = _Shared(int(sys.argv[1]), bytes.fromhex(told["public_key"]), {})
    await asyncio.gather(*(_node(shared, one) for one in told["credentials"]))


if __name__ == "__main__":
    asyncio.run(_follow())
