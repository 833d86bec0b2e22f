"""Which names of which grants were asked for, and on which day last: what an old allowlist is tidied by.

The log writer notes it while records pass; `used.json` is replaced when a day or a name is new, which is seldom. No
client and no count is in it. The table is bounded: past `MOST` the longest unasked are forgotten first.
"""

from __future__ import annotations

import json
from pathlib import Path

from resolver import durable

FILE = "used.json"
MOST = 20_000  # grants' names
KEPT = 40 * 86_400  # seconds
DAY = 86_400


class Use:
    """The uses of one node. `note` for every record that a grant let through, `write` once a second."""

    def __init__(self, state: Path) -> None:
        """Go on from what a former process wrote; begin anew when that cannot be read."""
        self._path = state / FILE
        self._days = {(grant, entry): day for grant, entry, day in read(state) or ()}
        self._dirty = not self._path.exists()  # an empty one says that this node does look

    def note(self, grant: int, name: bytes, now: float) -> None:
        entry = name.decode(errors="replace")
        day = int(now) // DAY * DAY
        if self._days.get((grant, entry)) == day:
            return
        self._days[grant, entry] = day
        self._dirty = True
        if len(self._days) > MOST:
            oldest = sorted(self._days, key=lambda key: self._days[key])
            for key in oldest[: len(self._days) - MOST * 9 // 10]:
                del self._days[key]

    def write(self, now: float) -> None:
        """Replace the file when there is something new. Raises `OSError`."""
        if not self._dirty:
            return
        self._days = {key: day for key, day in self._days.items() if day > now - KEPT}
        durable.replace(self._path, json.dumps([[*key, day] for key, day in self._days.items()], separators=(",", ":")))
        self._dirty = False


def read(state: Path) -> list[tuple[int, str, int]] | None:
    """Return grant, entry and day of what was asked for; None when nothing was written, or it cannot be read."""
    try:
        return [(int(grant), str(entry), int(day)) for grant, entry, day in json.loads((state / FILE).read_bytes())]
    except (OSError, ValueError, TypeError):
        return None
