"""What others feel of a flood: random names from one client at several times our capacity, or 2,000 slow readers.

One worker. A quiet client of another address asks cached names at a steady rate, first alone, then beside the flood;
printed are the answers it lost, and the 99th percentile of its waiting time.
"""

from __future__ import annotations

import contextlib
import random
import re
import resource
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.message

from tests.bench import corpus, load, peers
from tests.bench.ours import make_base, schoolgate

OPEN = 500
QUIET_RATE = 500  # questions a second of the quiet client
FLOODER, QUIET = "127.0.0.9", "127.0.0.1"
READERS = 2_000
DNS, WEB, AUTHORITY = 5593, 8593, 5591


@dataclass(frozen=True, slots=True)
class Felt:
    """Of the quiet client: `asked`, `lost`, and the 99th percentile of its waiting time, ms."""

    asked: int
    lost: int
    p99: float

    def __str__(self) -> str:
        return f"{self.asked:,} asked, {self.lost:,} lost ({self.lost / self.asked:.2%}), p99 {self.p99:.2f} ms"


def quiet(seconds: float) -> Felt:
    """Ask cached names at a steady rate; an answer after two seconds is lost."""
    rng = random.Random(3)
    queries = [dns.message.make_query(name, "A", use_edns=0).to_wire()[2:] for name in corpus.open_names(OPEN)]
    sent: dict[int, float] = {}
    waits: list[float] = []
    asked = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((QUIET, 0))
        client.connect(("127.0.0.1", DNS))
        client.setblocking(False)
        selector = selectors.DefaultSelector()
        selector.register(client, selectors.EVENT_READ)
        began = time.perf_counter()
        while (now := time.perf_counter()) < began + seconds + 2:
            while now < began + seconds and asked < (now - began) * QUIET_RATE:
                sent[asked & 0xFFFF] = time.perf_counter()
                client.send((asked & 0xFFFF).to_bytes(2, "big") + rng.choice(queries))
                asked += 1
            if not sent and now >= began + seconds:
                break
            selector.select(0.0005)
            with contextlib.suppress(BlockingIOError):
                while True:
                    data = client.recv(2048)
                    at = sent.pop(int.from_bytes(data[:2], "big"), None)
                    if at is not None and not data[2] & 2:  # an answer, not "come over TCP"
                        waits.append((time.perf_counter() - at) * 1000)
        selector.close()
    waits.sort()
    return Felt(asked, asked - len(waits), waits[int(len(waits) * 0.99)] if waits else float("inf"))


def _dnsperf(queries: Path, seconds: int, source: str, rate: int = 0) -> subprocess.Popen[str]:
    words = f"-s 127.0.0.1 -p {DNS} -a {source} -d {queries} -l {seconds} -c 8 -T 1 -t 1 -q 2000"
    words += f" -Q {rate}" if rate else ""
    command = ["taskset", "-c", load.CLIENT_CPU, "dnsperf", *words.split()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)


def _answered(process: subprocess.Popen[str], seconds: int) -> float:
    out, _ = process.communicate()
    found = re.search(r"Queries completed:\s+(\d+)", out)
    return int(found[1]) / seconds if found else 0.0


@contextlib.contextmanager
def _running() -> Iterator[tuple[Path, int]]:
    with tempfile.TemporaryDirectory(prefix="schoolgate-flood-") as text:
        folder = Path(text)
        base = folder / "flood.base"
        make_base(base, corpus.listed(10_000))
        with (
            peers.authority(folder, AUTHORITY, corpus.open_names(OPEN)),
            schoolgate(folder / "data", DNS, WEB, AUTHORITY, 1, base, load.SERVER_CPU) as ours,
        ):
            quiet(2)  # fill the cache
            yield folder, ours.resolver


def flood(seconds: int = 10, times: int = 5) -> None:
    """Random names below one domain, from one client that is not exempt, at `times` what we can forward."""
    with _running() as (folder, _):
        queries = folder / "random.txt"
        queries.write_text("".join(f"r{number}.random.example A\n" for number in range(2_000_000)))
        capacity = int(_answered(_dnsperf(queries, 4, QUIET), 4))
        alone = quiet(seconds)
        attack = _dnsperf(queries, seconds + 2, FLOODER, capacity * times)
        time.sleep(1)
        beside = quiet(seconds)
        attack.communicate()
    print(f"\nrandom names at {times} x capacity ({capacity:,} forwarded/s): alone {alone}")
    print(f"  beside the flood {beside}")


def slow_readers(seconds: int = 10, count: int = READERS) -> None:
    """`count` TCP connections that ask without end and hardly read."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    query = dns.message.make_query("host1.bench.example", "A", use_edns=0).to_wire()
    burst = (len(query).to_bytes(2, "big") + query) * 200
    with _running() as (_, resolver):
        before = load.memory_mb(resolver)
        alone = quiet(seconds)
        readers: list[socket.socket] = []
        try:
            for number in range(count):
                reader = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                reader.bind((f"127.0.1.{number % 250 + 1}", 0))
                reader.connect(("127.0.0.1", DNS))
                reader.setblocking(False)
                with contextlib.suppress(OSError):
                    reader.send(burst)
                readers.append(reader)
            beside = quiet(seconds)
            held = load.memory_mb(resolver)
        finally:
            for reader in readers:
                reader.close()
    print(f"\n{count:,} slow readers over TCP: UDP alone {alone}")
    print(f"  beside them {beside}; memory {before:.0f} -> {held:.0f} MB")
    print(f"  p99 beside them over p99 alone: {beside.p99 / alone.p99:.2f} (bar: at most 2)")
