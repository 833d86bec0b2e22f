"""One reading of a list: believed or not, and compiled later from the names that it gave, without a second parse.

The names wait in a file without a name, on the shelf's disk, so memory does not follow the list's size; it is gone with
the process, whatever ends it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from blocklists.formats.findings import Finding
from blocklists.parse import Intake, Parsed

_BUFFER = 1 << 20  # bytes


class Reading:
    """What a list says, read whole when this is made. Raises `BadList` or `OSError` then."""

    def __init__(self, findings: Iterable[Finding], folder: Path) -> None:
        """`folder`: where the names wait."""
        intake = Intake(findings)
        self._file = tempfile.TemporaryFile("w+", _BUFFER, encoding="ascii", newline="\n", dir=folder)  # noqa: SIM115
        try:
            self._file.writelines(f"{name}\n" for name in intake.names())
            self._file.flush()
        except BaseException:
            self._file.close()
            raise
        self.parsed: Parsed = intake.parsed()
        self.exceptions = intake.exceptions

    def names(self) -> Iterator[str]:
        """Yield the listed names; the file is closed after the last."""
        with self._file:
            self._file.seek(0)
            for line in self._file:
                yield line[:-1]
