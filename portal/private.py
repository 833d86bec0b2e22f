"""Files that hold a secret: read only while nobody else can read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class Exposed(Exception):
    """Others can read the file. `str()` says which, and what to do."""


def read(path: Path, what: str, most: int) -> bytes:
    """Return at most `most` bytes of the file with `what`. Raises `Exposed` and `OSError`; it is refused, not mended:
    what was readable may have been read."""
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise Exposed(f"{path} has mode {mode:04o}: others can read {what}. Run `chmod 600 {path}`")
        return file.read(most)
