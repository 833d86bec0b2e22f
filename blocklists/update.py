"""One update of the lists, in a process of its own: fetch, compile, compare; nothing is published here.

    python -m blocklists.update JOB.json        a line of JSON on standard output for each step; the last is the result

The job names the sources to fetch and those to compile; lists come to the shelf, the base to the objects' folder under
its digest, and the difference from the present base on standard output, with what the guards say of it. The process
runs at the lowest priority, so that answering queries comes first, and dies with whoever started it.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blocklists import diff
from blocklists.base import Base, ListKind
from blocklists.bundles import bundles
from blocklists.catalog import MAX_BYTES, MAX_NAMES, unbelievable
from blocklists.compile import Source, compile_base, seed_sources
from blocklists.fetch import OF_ONE_LIST, Failed, Failure, Fetcher, Fresh, Limits, Outcome, Reach, Unchanged
from blocklists.formats.detect import Format
from blocklists.formats.findings import BadList
from blocklists.parse import Intake, Parsed, parse, read_chunks
from blocklists.policy import Match
from blocklists.reading import Reading
from blocklists.seed import SeedService, load_seed
from blocklists.shelf import Kept, Shelf

MOST_CHANGED = 200  # lists whose changes are told, the largest first
_PR_SET_PDEATHSIG = 1

Say = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One list to fetch or compile. `format` empty: told by its first bytes. `file`: taken instead of `url`."""

    id: str
    title: str
    category: str
    url: str = ""
    format: str = ""
    member: str = ""
    least: int = 1
    most: int = MAX_NAMES
    max_bytes: int = MAX_BYTES
    file: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """`build`: compile even when no list changed. `services`: as the district has them, over those of the seed;
    one without names is left out. `old`: digest of the present base. `watched`: (name, match, why, what)."""

    shelf: str
    objects: str
    old: str
    wanted: tuple[Wanted, ...]
    fetch: tuple[str, ...] = ()
    build: bool = False
    services: tuple[SeedService, ...] = ()
    watched: tuple[tuple[str, str, str, str], ...] = ()
    private: bool = False  # lists may come from private addresses, and over plain http
    patience: float = 600.0  # seconds for one attempt at one list
    attempts: int = 3


def dump(job: Job) -> str:
    return json.dumps(asdict(job))


def load(text: str) -> Job:
    """Return the job that `dump` wrote."""
    plain = json.loads(text)
    plain["wanted"] = tuple(Wanted(**one) for one in plain["wanted"])
    plain["fetch"] = tuple(plain["fetch"])
    plain["services"] = tuple(
        SeedService(**{**one, "names": tuple(one["names"]), "exceptions": tuple(one["exceptions"])})
        for one in plain["services"]
    )
    plain["watched"] = tuple((name, match, why, what) for name, match, why, what in plain["watched"])
    return Job(**plain)


@dataclass(slots=True)
class _Run:
    job: Job
    say: Say
    shelf: Shelf = field(init=False)
    readings: dict[str, Reading] = field(default_factory=dict)  # of the lists that came new in this run

    def __post_init__(self) -> None:
        self.shelf = Shelf(Path(self.job.shelf))

    def fetch(self) -> bool:
        """Bring every list that is asked for; True when one of them is new."""
        limits = Limits(total=self.job.patience, attempts=self.job.attempts)
        reach = Reach(allow_private=self.job.private, allow_http=self.job.private)
        fetcher = Fetcher(self.shelf, reach, limits)
        by_id = {one.id: one for one in self.job.wanted}
        brought: dict[str, Outcome] = {}  # by address: one that several lists are made from is asked once
        for at, id in enumerate(self.job.fetch):
            one = by_id[id]
            self.say({"step": f"fetching {one.title}", "done": at, "total": len(self.job.fetch)})

            def accept(path: Path, one: Wanted = one) -> Parsed:
                return self._believed(one, path)

            if one.file:
                outcome = fetcher.take_file(one.id, Path(one.file), one.max_bytes, accept)
                Path(one.file).unlink(missing_ok=True)
            elif (before := brought.get(one.url)) is not None:
                outcome = fetcher.share(one.id, before, one.max_bytes, accept)
            else:
                outcome = fetcher.fetch(one.id, one.url, one.max_bytes, accept)
                if not (isinstance(outcome, Failed) and outcome.code in OF_ONE_LIST):
                    brought[one.url] = outcome
            if not isinstance(outcome, Fresh):
                self.readings.pop(one.id, None)  # it was read, and something else went wrong
            self.say({"fetched": _plain(one.id, outcome)})
        return bool(self.readings)

    def _believed(self, one: Wanted, path: Path) -> Parsed:
        """Read a new copy whole; raise `BadList` when it cannot be this list."""
        reading = Reading(parse(read_chunks(path), _format(one), member=one.member or None), path.parent)
        if (fault := unbelievable(one, reading.parsed)) is not None:
            raise BadList(fault)
        self.readings[one.id] = reading
        return reading.parsed

    def _read(self, one: Wanted, kept: Kept) -> tuple[Iterable[str], Iterable[str]]:
        """The names and, once these are through, the exceptions of a list."""
        if (reading := self.readings.pop(one.id, None)) is not None:
            return reading.names(), reading.exceptions
        intake = Intake(parse(self.shelf.read(kept), _format(one), member=one.member or None))
        return intake.names(), _Late(intake)

    def build(self) -> None:
        total = len(self.job.wanted)
        sources: list[Source] = []
        brought: dict[str, dict[str, SeedService]] = {}
        for one in self.job.wanted:
            kept = self.shelf.kept(one.id)
            if kept is None:
                continue  # never fetched yet, and its failure is on the page
            found, exceptions = self._read(one, kept)
            fetched_at = int(kept.fetched_at)
            sources.append(
                Source(one.id, one.title, one.category, ListKind.LIST, found, exceptions, kept.digest, fetched_at)
            )
            if one.member:
                brought[one.id] = bundles(self.shelf.read(kept), one.member, one.category)
        seed, services = load_seed(), self._services(brought)
        seeded = seed_sources(seed, services)

        counter = itertools.count(1)

        def progress(id: str, names: int) -> None:
            step = f"compiling: {names:,} names"
            self.say({"step": step, "done": next(counter), "total": total + len(seeded)})

        data = compile_base([*seeded, *sources], progress)
        digest = hashlib.sha256(data).hexdigest()
        base = Base(memoryview(data), digest)
        result: dict[str, Any] = {
            "digest": digest,
            "size": len(data),
            "names": base.keys,
            "services": [asdict(one) | {"origin": id} for id, found in brought.items() for one in found.values()],
        }
        store(Path(self.job.objects), digest, data)
        if self.job.old and self.job.old != digest:
            self.say({"step": "comparing with the present base", "done": total, "total": total})
            result |= self._compared(Base.open(Path(self.job.objects) / self.job.old, self.job.old), base)
        self.say({"result": result})

    def _services(self, brought: Mapping[str, Mapping[str, SeedService]]) -> tuple[SeedService, ...]:
        """The seed's, then what collections bring (joined to the seed's of the same id), then the district's own."""
        found = {one.id: one for one in load_seed().services}
        for services in brought.values():
            for id, one in services.items():
                known = found.get(id)
                if known is not None:
                    one = SeedService(
                        id,
                        known.title,
                        known.category,
                        known.kind,
                        tuple(dict.fromkeys((*known.names, *one.names))),
                        known.exceptions,
                    )
                found[id] = one
        found |= {one.id: one for one in self.job.services}
        return tuple(one for one in found.values() if one.names)

    def _compared(self, old: Base, new: Base) -> dict[str, Any]:
        enabled = {one.id for one in self.job.wanted}
        kept = enabled | {one.id for one in new.lists}
        withdrawn = frozenset(one.id for one in old.lists if one.id not in kept)
        watched = [
            diff.Watched(name, Match(match), diff.Watch(why), what) for name, match, why, what in self.job.watched
        ]
        difference = diff.compare(old, new, watched, withdrawn)
        hold = diff.judge(difference)
        changed = [one for one in difference.lists if one.added or one.dropped]
        changed.sort(key=lambda one: (-(one.added + one.dropped), one.id))
        gone = [one for one in old.lists if one.id in withdrawn]
        return {
            "changes": [asdict(one) for one in changed[:MOST_CHANGED]]
            + [{"id": one.id, "before": one.names, "after": 0, "withdrawn": True} for one in gone],
            "reasons": [] if hold is None else [{**asdict(one), "guard": str(one.guard)} for one in hold.reasons],
        }


class _Late:
    """The exceptions of a list, asked for when its names are through."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def __iter__(self) -> Iterator[str]:
        return iter(self._intake.exceptions)


def _format(one: Wanted) -> Format | None:
    return Format(one.format) if one.format else None


def _plain(id: str, outcome: Outcome) -> dict[str, Any]:
    kept = outcome.kept
    found: dict[str, Any] = {"id": id, "outcome": type(outcome).__name__.lower()}
    if kept is not None:
        found |= {
            "digest": kept.digest,
            "size": kept.size,
            "fetched_at": int(kept.fetched_at),
            "checked_at": int(kept.checked_at),
        }
    match outcome:
        case Fresh(_, parsed):
            found |= {"found": parsed.found, "excepted": parsed.excepted, "rejected": parsed.rejected}
            found["examples"] = [asdict(one) for one in parsed.examples]
        case Failed(code, detail):
            found |= {"code": code.value, "detail": detail}
        case Unchanged():
            pass
    return found


def store(folder: Path, digest: str, data: bytes) -> None:
    """Write an object whole or not at all, durably. Raises `OSError`."""
    path = folder / digest
    if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = folder / f".{digest}.{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def run(job: Job, say: Say) -> None:
    """Do the job; `say` is told each step, each list's outcome, and the result when a base was made."""
    work = _Run(job, say)
    fresh = work.fetch()
    if fresh or job.build:
        work.build()


def main(path: str) -> int:
    """Run the job in the file at `path`, saying what happens on standard output."""

    def say(what: Mapping[str, Any]) -> None:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.nice(19)
    try:
        run(load(Path(path).read_text("utf-8")), say)
    except (BadList, ValueError, OSError, MemoryError) as error:
        say({"failed": f"{type(error).__name__}: {error}"[:500], "code": Failure.NOT_A_LIST.value})
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
