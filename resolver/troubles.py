"""What is wrong with a node now, by source, until it is well again. A log line when something begins, and one when it
is over, with how long it lasted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import timedelta

log = logging.getLogger("schoolgate.resolver")


class Troubles:
    """Sentences by source: `worker 1`, `settings`, `upstream 2`, …"""

    __slots__ = ("_clock", "_found", "_since")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds from any beginning, never set back."""
        self._clock = clock
        self._found: dict[str, str] = {}
        self._since: dict[str, float] = {}  # when each source was well last

    def note(self, source: str, error: str) -> None:
        """It is `error` now; empty: nothing any more."""
        if error and self._found.get(source) != error:
            log.warning("%s: %s", source, error)
        self.stands(source, error)

    def stands(self, source: str, error: str) -> None:
        """The same, where the log has its beginning already."""
        if error:
            self._found[source] = error
            self._since.setdefault(source, self._clock())
        elif source in self._found:
            lasted = timedelta(seconds=round(self._clock() - self._since[source]))
            log.info("%s: well again after %s (it was: %s)", source, lasted, self._found[source])
            self.forget(source)

    def forget(self, source: str) -> None:
        """There is no such source any more; nothing is said of it."""
        self._found.pop(source, None)
        self._since.pop(source, None)

    def note_all(self, kind: str, errors: dict[str, str]) -> None:
        """Note all that is known of the sources whose names begin with `kind`; those not named are no more."""
        for source in [one for one in self._found if one.startswith(kind) and one not in errors]:
            self.forget(source)
        for source, error in errors.items():
            self.note(source, error)

    def all(self) -> Iterable[str]:
        """Return every sentence, the oldest first."""
        return self._found.values()
