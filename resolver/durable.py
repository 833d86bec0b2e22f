"""Files that are whole or absent: written aside, synced, renamed, and the folder synced after them."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from io import BufferedRandom
from pathlib import Path

TEMPORARY = ".new-"  # begins the name of every file that is still being written


@contextlib.contextmanager
def written_aside(path: Path, mode: int = 0o600) -> Iterator[BufferedRandom]:
    """Give a file to write; when the block ends well it becomes `path`, durably. Otherwise nothing is left of it.

    Raises `OSError` (disk full, read-only folder).
    """
    number, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(number, "w+b") as file:
            os.fchmod(number, mode)
            yield file
            file.flush()
            os.fsync(number)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    sync_folder(path.parent)


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `data`, durably. Raises `OSError`."""
    with written_aside(path, mode) as file:
        file.write(data)


def replace(path: Path, text: str) -> None:
    """Replace `path` by `text`, whole, but not synced: after a power cut it may be the one before. Raises `OSError`."""
    aside = path.with_name(f"{TEMPORARY}{path.name}")
    aside.write_text(text)
    aside.chmod(0o600)
    aside.replace(path)


def link(old: Path, new: Path) -> None:
    """Make `new` another name of what `old` is now. On the disk with the next `sync_folder`. Raises `OSError`."""
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=new.parent) as aside:
        made = Path(aside, new.name)
        made.hardlink_to(old)
        made.replace(new)


def sync_folder(folder: Path) -> None:
    """Return when the names in `folder` are on the disk. Raises `OSError`."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def clear_unfinished(folder: Path) -> None:
    """Remove what was being written in `folder` when its writer was killed. No writer may be at work there."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{TEMPORARY}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def private_folder(folder: Path) -> Path:
    """Return `folder`, made if need be, readable by its owner alone (mode 0700). Raises `OSError`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    return folder
