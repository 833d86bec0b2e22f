"""What is wrong with a node now, by source, until it is well again. A log line when something begins."""

from __future__ import annotations

import logging
from collections.abc import Iterable

log = logging.getLogger("schoolgate.resolver")


class Troubles:
    """Sentences by source: `worker 1`, `settings`, `upstream 2`, …"""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def note(self, source: str, error: str) -> None:
        """It is `error` now; empty: nothing any more."""
        if error and self._found.get(source) != error:
            log.warning("%s: %s", source, error)
        self.stands(source, error)

    def stands(self, source: str, error: str) -> None:
        """The same, where the log has it already."""
        if error:
            self._found[source] = error
        else:
            self._found.pop(source, None)

    def note_all(self, kind: str, errors: dict[str, str]) -> None:
        """Note all that is known of the sources whose names begin with `kind`; those not named are no more."""
        for source in [one for one in self._found if one.startswith(kind) and one not in errors]:
            del self._found[source]
        for source, error in errors.items():
            self.note(source, error)

    def all(self) -> Iterable[str]:
        """Return every sentence, the oldest first."""
        return self._found.values()
