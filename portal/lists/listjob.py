"""The portal's lists at work: who is due, one process that fetches and builds, and what became of it.

A thread of its own, for it waits for that process for minutes. Everything heavy happens there (`blocklists.update`, at
the lowest priority); here are only rows. Among several portals of one database one works at a time.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete
from sqlmodel import Session, col

from blocklists.seed import Seed
from blocklists.shelf import Kept, Shelf
from blocklists.update import Job, Wanted, dump
from portal.database import after_commit, reading, sole_pass, transaction
from portal.doors import grants, register_grants
from portal.lists import asked, bases, builds, copies, sources
from portal.lists.bases import Bases
from portal.models.delivery import BaseChunk
from portal.models.lists import BuildState, ListCopy, UploadedList
from portal.plight import UNUSABLE, plight
from portal.rules import services

log = logging.getLogger(__name__)

TICK = 1.0  # seconds between looks at who is due
LONGEST = 3600.0  # seconds that one process may take
_LOCK = 4417  # PostgreSQL advisory lock: of several portals, one fetches and builds
_WRITE_EVERY = 0.5  # seconds between rows of progress

Tell = Callable[[Mapping[str, Any]], None]


class ListJob:
    """`start` and `stop` once each; `wake` from any thread; `run_once` is a pass, for the command line too."""

    def __init__(
        self,
        engine: Engine,
        files: Bases,
        folder: Path,
        seed: Seed,
        clock: Callable[[], float],
        changed: Callable[[], None],
        moved: Callable[[], None] = lambda: None,
        private: bool = False,
        patience: float = 600.0,
    ) -> None:
        """`folder` holds the shelf; `changed` is called when there is something to publish,
        `moved` when only the progress is another."""
        self._engine = engine
        self._files = files
        self._folder = folder
        self._seed = seed
        self._seed_digests = {one.id: one.digest for one in services.seed_lists(seed)}
        self._clock = clock
        self._changed = changed
        self._moved = moved
        self._private = private
        self._patience = patience
        self._event = threading.Event()
        self._stopping = False
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="portal-lists", daemon=True)
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why the last pass failed, for people; None: it did not."""
        return self._trouble

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the process under way, which leaves the last good lists and base as they are, and the thread."""
        self._stopping = True
        self._event.set()
        if (process := self._process) is not None:
            process.terminate()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def wake(self) -> None:
        self._event.set()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self.run_once()
                self._trouble = None
            except UNUSABLE as error:  # a full or read-only disk, a database that went away
                trouble = str(plight(self._engine.url, error))
                if self._trouble != trouble:
                    log.error("the lists could not be looked after: %s", trouble)
                self._trouble = trouble
            except Exception as error:  # the thread outlives everything
                if self._trouble is None:
                    log.exception("the lists could not be looked after")
                self._trouble = f"{type(error).__name__}: {error}"
            self._event.wait(TICK)
            self._event.clear()

    def run_once(self) -> bool:
        """Do what is due; True when there was something."""
        now = self._clock()
        with reading(self._engine) as session:
            waits = builds.under_way(session) is not None or self._seed_is_newer(session)
            if not waits and not sources.due(session, now):
                return False
        with sole_pass(self._engine, _LOCK) as mine:
            if not mine:
                return False
            self._pass(now)
        return True

    def _seed_is_newer(self, session: Session) -> bool:
        """A new release's seed is not in the present base, which came from an update: build again."""
        present = bases.current_base(session)
        if present is None or present.digest == self._files.seed or builds.held(session) is not None:
            return False
        if (last := builds.recent(session)) and last[0].state in (BuildState.FAILED, BuildState.REFUSED):
            return False
        infos = {one.id: one.source_digest for one in self._files.open(present.digest).lists}
        return any(id in infos and infos[id] != digest for id, digest in self._seed_digests.items())

    def _pass(self, now: float) -> None:
        with transaction(self._engine) as session:
            builds.resume(session)
            waiting = builds.under_way(session) is not None or self._seed_is_newer(session)
            ids = sources.due(session, now)
            row = builds.start(session, now, "scheduled" if ids else "a new release's seed")
            job = self.job(session, now, ids, waiting)
            number = row.id or 0
        written = 0.0
        result: dict[str, Any] | None = None
        said: list[str] = []

        def hear(what: Mapping[str, Any]) -> None:
            nonlocal written, result
            if "fetched" in what:
                with transaction(self._engine) as session:
                    sources.fetched(session, self._clock(), what["fetched"])
                    self._share(session, what["fetched"])
            elif "result" in what:
                result = what["result"]
            elif "failed" in what:
                said.append(str(what["failed"]))
            elif "step" in what and time.monotonic() - written > _WRITE_EVERY:
                written = time.monotonic()
                with transaction(self._engine) as session:
                    after_commit(session, self._moved)
                    builds.progress(session, number, what["step"], what["done"], what["total"])

        ended = self.run_process(job, hear)
        now = self._clock()
        with transaction(self._engine) as session:
            after_commit(session, self._changed)
            why = said[0] if said else f"the process that builds ended with status {ended}"
            sources.lost(session, now, ids, why if ended else "what was uploaded is not there any more")
            if self._stopping and result is None:
                builds.resume(session)
            elif result is not None and ended == 0:
                services.brought(session, result.get("services", []))
                builds.finish(session, now, self._files, number, result)
            elif ended != 0 or waiting:
                builds.fail(session, number, why)
            else:
                builds.unchanged(session, number)
        self._tidy()

    def job(self, session: Session, now: float, fetch: tuple[str, ...], build: bool) -> Job:
        """Return what the process is told."""
        present = bases.current_base(session)
        known = sources.digests(session)
        wanted = tuple(
            self._at_hand(session, one, one.id in fetch, known.get(one.id, "")) for one in sources.wanted(session, now)
        )
        return Job(
            shelf=str(self._folder / "shelf"),
            objects=str(self._files.folder),
            old="" if present is None else present.digest,
            wanted=tuple(one for one, _ in wanted),
            fetch=tuple(one.id for one, needed in wanted if needed),
            build=build,
            services=services.edited(session),
            watched=(
                *((one.name, one.match, "protected", one.purpose) for one in self._seed.protected),
                *_opened(session, now),
                *asked.watched(session, now),
            ),
            private=self._private,
            patience=self._patience,
        )

    def _at_hand(self, session: Session, one: Wanted, due: bool, known: str) -> tuple[Wanted, bool]:
        """Return the list as the process is told of it, and whether it is to be brought. `known`: its digest by the
        database.

        The shelf may lack what the database knows: another portal brought it, or a backup was restored."""
        shelf = Shelf(self._folder / "shelf")
        kept = shelf.kept(one.id)
        lacking = bool(known) and (kept is None or kept.digest != known)
        if not one.url:
            held = copies.digest(session, UploadedList, one.id)
            if held and (due or (lacking and held == known)):
                file = self._folder / "uploads" / one.id
                copies.write(session, UploadedList, one.id, file)
                return replace(one, file=str(file)), True
            return one, False
        if lacking and copies.digest(session, ListCopy, one.id) == known:
            row = sources.source(session, 0, one.id)
            with shelf.writing(one.id) as (path, _):
                size = copies.write(session, ListCopy, one.id, path)
                times = float(row.fetched_at or 0), float(row.checked_at or 0)
                shelf.keep(path, Kept(one.id, one.url, known, size, *times))
            lacking = False
        return one, due or lacking

    def _share(self, session: Session, outcome: Mapping[str, Any]) -> None:
        """A copy that was fetched, for the other portals."""
        shelf = Shelf(self._folder / "shelf")
        kept = shelf.kept(outcome["id"])
        fresh = outcome["outcome"] == "fresh" and kept is not None and kept.url.startswith("http")
        if fresh and kept is not None and bases.shares(self._engine):
            copies.put(session, ListCopy, kept.id, shelf.read(kept))

    def run_process(self, job: Job, hear: Tell) -> int:
        """Run one update in a process of its own; return its exit status."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=self._folder, prefix=".job-", encoding="utf-8") as file:
            file.write(dump(job))
            file.flush()
            process = subprocess.Popen(
                [sys.executable, "-m", "blocklists.update", file.name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._process = process
            timer = threading.Timer(LONGEST, process.kill)
            timer.start()
            try:
                assert process.stdout is not None
                with process.stdout:
                    for line in process.stdout:
                        hear(json.loads(line))
                return process.wait()
            finally:
                timer.cancel()
                if process.poll() is None:
                    process.kill()
                    process.wait()
                self._process = None

    def _tidy(self) -> None:
        """Remove what nobody rolls back to."""
        with transaction(self._engine) as session:
            kept = builds.kept(session)
            if bases.shares(self._engine):
                session.execute(delete(BaseChunk).where(col(BaseChunk.digest).not_in(kept)))
        self._files.prune(kept)


def _opened(session: Session, now: float) -> tuple[tuple[str, str, str, str], ...]:
    """Return (name, match, why, what) of every name that a live grant opens: those of platforms first, by name."""
    platforms = register_grants.labels(session)
    live = sorted(grants.live(session, int(now)), key=lambda grant: grant.number not in platforms)
    return tuple(
        (entry.name, entry.match.value, "platform", f"{platforms[grant.number]}, grant {grant.number}")
        if grant.number in platforms
        else (entry.name, entry.match.value, "grant", f"grant {grant.number}")
        for grant in live
        for entry in grant.entries
        if entry.match.value != "via"
    )


def progress(session: Session) -> tuple[str, int, int] | None:
    """Return (step, done, of) of the build under way; None when there is none."""
    row = builds.under_way(session)
    return None if row is None else (row.step or "waiting for its turn", row.done, row.total)


def newest(session: Session) -> int:
    """Return the number of the newest build; 0 before the first."""
    rows = builds.recent(session)
    return 0 if not rows else rows[0].id or 0
