"""The portal's one background thread: publishes what waits, announces what is published, keeps the heartbeats.

A commit wakes it; a tick a second finds what a lost wake-up left, what a former process left, and what another portal
published. It never ends by itself: a pass that fails is logged once for each distinct reason, shown in `trouble`
(health page, nodes page), and tried again.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy import Engine

from blocklists.exchange import Reach
from portal import audit
from portal.access import SYSTEM
from portal.database import checkpoint, reading, transaction
from portal.nodes import delivery, enrolment, reports
from portal.nodes.live import DELIVERY, OFFER, REQUESTS, Event, Live
from portal.nodes.publication import BadPublication, Publisher
from portal.nodes.reports import Heartbeat
from portal.notices import Notice
from portal.plight import UNUSABLE, look, plight
from portal.rules import changes
from portal.verdicts.current import Current, NothingPublished

log = logging.getLogger(__name__)

TICK = 1.0  # seconds
RETRY = 10.0  # seconds between attempts at what failed, unless something new was decided
SWEEP = 600.0  # seconds between two full collections of cyclic garbage
MAX_HEARTBEATS = 10_000  # one per node; more nodes than this are no district


class Jobs:
    """`start` and `stop` once each; everything else from any thread."""

    def __init__(
        self, engine: Engine, publisher: Publisher, live: Live, current: Current, clock: Callable[[], float]
    ) -> None:
        self._engine = engine
        self._publisher = publisher
        self._live = live
        self._current = current
        self._clock = clock
        self._event = threading.Event()
        self._stopping = False
        self._lock = threading.Lock()
        self._heartbeats: dict[int, Heartbeat] = {}
        self._thread = threading.Thread(target=self._run, name="portal-jobs", daemon=True)
        self.reach = Reach(version=None, acked=0, expected=0)  # as it was at the last heartbeats
        self._announced = 0
        self._settled = 0  # the version whose snapshot the collector does not look at any more
        self._swept = time.monotonic()
        self._elsewhere = False  # another portal says that it published
        self._failing: dict[str, str] = {}  # kind of work -> what went wrong with it last

    def start(self) -> None:
        self._event.set()  # whatever a former process left
        self._thread.start()

    def stop(self) -> None:
        """Finish the pass under way, keep the last heartbeats, end the thread."""
        self._stopping = True
        self._event.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def wake(self) -> None:
        """After a commit: there may be something to publish, and people may be looking at what changed."""
        self._event.set()
        self._live.publish(Event(REQUESTS))

    def hear(self, notice: Notice) -> None:
        """Another portal of this database (or this one) changed something: look at once, not at the next tick."""
        match notice:
            case Notice.PENDING:
                self._event.set()
                self._live.publish(Event(REQUESTS))
            case Notice.VERSION:
                self._elsewhere = True
                self._event.set()
            case Notice.DELIVERY:
                self._live.publish(Event(DELIVERY))
            case Notice.NODES:
                self._cut_off()

    def heartbeat(self, node_id: int, heartbeat: Heartbeat) -> None:
        """Keep the newest status of a node; written within a tick, many nodes' in one transaction."""
        with self._lock:
            if node_id in self._heartbeats or len(self._heartbeats) < MAX_HEARTBEATS:
                self._heartbeats[node_id] = heartbeat

    def _run(self) -> None:
        self._attempt(self._catch_up)  # so that this process knows at once what others published before it
        retry_at = 0.0  # on the thread's own clock; a wake-up does not wait for it
        while not self._stopping:
            woken = self._event.wait(TICK)
            self._event.clear()
            self._attempt(self._look_at_folder)
            self._attempt(self._keep_dates)
            if woken or self.trouble is None or time.monotonic() >= retry_at:
                self._attempt(self._publish)
                retry_at = time.monotonic() + RETRY
            if not woken or self._elsewhere or self._stopping:
                self._elsewhere = False
                self._attempt(self._catch_up)
            if not woken or self._stopping:
                self._attempt(self._keep_heartbeats)
                self._attempt(self._cut_off)
                self._attempt(self._checkpoint)
            self._settle(idle=not woken)

    def _attempt(self, work: Callable[[], None]) -> None:
        name = work.__name__
        try:
            work()
            if (was := self._failing.pop(name, None)) is not None:
                log.warning("background work goes on again; it had failed: %s", was)
        except BadPublication as error:
            self._report(name, f"the policy cannot be published: {error}", refused=True)
        except UNUSABLE as error:  # a full or read-only disk, a database that went away
            self._report(name, str(plight(self._engine.url, error)))
        except Exception as error:  # the thread outlives everything
            self._report(name, f"{type(error).__name__}: {error}", traced=True)

    @property
    def trouble(self) -> str | None:
        """Why the last pass failed, for people; None: it did not."""
        return next(iter(self._failing.values()), None)

    def _look_at_folder(self) -> None:
        """A folder that became read-only is known before somebody's decision meets it."""
        look(self._engine.url)

    def _keep_dates(self) -> None:
        """Carry out the changes that were scheduled for now."""
        with reading(self._engine) as session:
            if not changes.is_due(session, self._clock()):
                return
        with transaction(self._engine) as session:
            changes.publish_due(session, self._clock())

    def _publish(self) -> None:
        while (published := self._publisher.publish_pending(self._clock)) is not None:
            self._announced = published.offer.version
            self._live.publish(Event(OFFER, offer=published.offer, recorded=published.recorded))
            self._current.swap(published.snapshot)
            self._live.publish(Event(DELIVERY))

    def _catch_up(self) -> None:
        """Announce the newest version when this process did not publish it: after a start, or another portal did."""
        with reading(self._engine) as session:
            try:
                self._current.refresh(session)
            except NothingPublished:
                return
            offer = delivery.newest_offer(session)
            if offer is None or offer.version <= self._announced:
                return
        self._announced = offer.version
        self._live.publish(Event(OFFER, offer=offer))
        self._live.publish(Event(DELIVERY))

    def _cut_off(self) -> None:
        """End the streams of nodes that were cut off, whichever portal they were retired at."""
        with reading(self._engine) as session:
            gone = enrolment.cut_off(session, self._live.nodes())
        for node in gone:
            self._live.disconnect(node)

    def _checkpoint(self) -> None:
        checkpoint(self._engine)

    def _keep_heartbeats(self) -> None:
        with self._lock:
            batch, self._heartbeats = self._heartbeats, {}
        if batch:
            try:
                with transaction(self._engine) as session:
                    reports.write_heartbeats(session, sorted(batch.items()))
                    self.reach = delivery.reach(session, self._clock())
            except Exception:
                with self._lock:  # at the next tick, unless a newer one has come
                    self._heartbeats = batch | self._heartbeats
                raise
            self._live.publish(Event(DELIVERY))

    def _settle(self, *, idle: bool) -> None:
        """Spare pages the collector's looks through snapshots, which are many objects and live for hours: each look
        stops every thread for a tenth of a second. Garbage among them is found now and then, in an idle moment."""
        if idle and time.monotonic() - self._swept >= SWEEP:
            self._swept = time.monotonic()
            gc.unfreeze()
            gc.collect()
            gc.freeze()
        elif self._settled != self._announced:
            gc.freeze()
        self._settled = self._announced

    def _report(self, name: str, what: str, *, refused: bool = False, traced: bool = False) -> None:
        """Log and audit a trouble when it is new, not each time that it is met again."""
        if self._failing.get(name) == what:
            return
        self._failing[name] = what
        log.error("background work failed: %s", what, exc_info=traced)
        if refused:
            try:
                with transaction(self._engine) as session:
                    now_ms = int(self._clock() * 1000)
                    audit.record(session, SYSTEM, now_ms, "policy.version.refuse", "policy", {"reason": what[:500]})
            except Exception:
                log.exception("the refused publication could not be audited")
