"""Fetching in tests: no waits, loopback allowed, and what every test of it looks at."""

from __future__ import annotations

from pathlib import Path

from blocklists.fetch import Failed, Failure, Fetcher, Limits, Outcome, Reach
from blocklists.formats.detect import Format
from blocklists.parse import Parsed, parse, read_chunks, summarise
from blocklists.shelf import Shelf

LIST = b"one.example.com\ntwo.example.com\n"
HTML = b"<!DOCTYPE html><html><title>Sign in</title></html>"
MAX = 100_000  # bytes
QUICK = Limits(connect=5, read=5, total=20, attempts=1)
HERE = Reach(allow_private=True, allow_http=True)


def accept(path: Path) -> Parsed:
    return summarise(parse(read_chunks(path), Format.DOMAINS))


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


def fetcher(shelf: Shelf, reach: Reach = HERE, limits: Limits = QUICK, clock: Clock | None = None) -> Fetcher:
    clock = clock or Clock()
    return Fetcher(shelf, reach, limits, now=clock.now, sleep=clock.sleep, jitter=lambda: 0.0)


def get(shelf: Shelf, url: str, max_bytes: int = MAX) -> Outcome:
    return fetcher(shelf).fetch("sample", url, max_bytes, accept)


def failed(outcome: Outcome, code: Failure) -> Failed:
    assert isinstance(outcome, Failed), outcome
    assert outcome.code is code, outcome
    assert outcome.detail
    return outcome


def bytes_of(shelf: Shelf) -> bytes:
    kept = shelf.kept("sample")
    assert kept is not None
    return b"".join(shelf.read(kept))


def nothing_left(tmp_path: Path) -> bool:
    return not [path for path in tmp_path.rglob("*") if path.name.startswith(".new-")]
