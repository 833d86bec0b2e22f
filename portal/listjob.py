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
from blocklists.update import Job, dump
from portal import bases, builds, grants, services, sources
from portal.bases import Bases
from portal.database import after_commit, reading, sole_pass, transaction
from portal.models.delivery import BaseChunk
from portal.models.lists import BuildState

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
        """`folder` holds the shelf and what was uploaded; `changed` is called when there is something to publish,
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

    def upload(self, id: str) -> Path:
        """Return where the bytes of an uploaded list are left for the next pass."""
        folder = self._folder / "uploads"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / id

    def _run(self) -> None:
        while not self._stopping:
            try:
                self.run_once()
                self._trouble = None
            except Exception as error:  # the thread outlives everything: a full disk, a database that went away
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
            sources.lost(session, now, ids, why if ended else "its uploaded file is not on this machine")
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
        wanted = []
        for one in sources.wanted(session, now):
            file = self._folder / "uploads" / one.id
            if not one.url:
                wanted.append(replace(one, file=str(file) if file.exists() else ""))
            else:
                wanted.append(one)
        uploads = {one.id for one in wanted if not one.url and one.file}
        by_url = {one.id for one in wanted if one.url}
        return Job(
            shelf=str(self._folder / "shelf"),
            objects=str(self._files.folder),
            old="" if present is None else present.digest,
            wanted=tuple(wanted),
            fetch=tuple(id for id in fetch if id in uploads | by_url),
            build=build,
            services=services.edited(session),
            watched=(
                *((one.name, one.match, "protected", one.purpose) for one in self._seed.protected),
                *(
                    (entry.name, entry.match.value, "grant", f"grant {grant.number}")
                    for grant in grants.live(session, int(now))
                    for entry in grant.entries
                    if entry.match.value != "via"
                ),
            ),
            private=self._private,
            patience=self._patience,
        )

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


def progress(session: Session) -> tuple[str, int, int] | None:
    """Return (step, done, of) of the build under way; None when there is none."""
    row = builds.under_way(session)
    return None if row is None else (row.step or "waiting for its turn", row.done, row.total)


def newest(session: Session) -> int:
    """Return the number of the newest build; 0 before the first."""
    rows = builds.recent(session)
    return 0 if not rows else rows[0].id or 0
