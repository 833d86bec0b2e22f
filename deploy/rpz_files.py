"""The zone files of `schoolgate export rpz`: written whole or not at all, and only when they say something new.

Policy version in, files and a reload of the name server out. A file's serial is the policy's time or one more than the
file before; Knot DNS keeps serials of its own (`zonefile-load: difference-no-serial`) and sends only the difference.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import click

from blocklists.policy import FOREVER
from blocklists.rpz import (
    Answer,
    allow_zone,
    block_zone,
    block_zone_identity,
    left_out,
    next_change,
    zone_names,
    zone_text,
)
from blocklists.rules import Rules
from blocklists.snapshot import Snapshot

POLL = 0.1  # seconds between two looks for a newer version
RETRY = 2.0  # seconds until a reload that failed is tried again
_SERIAL = re.compile(rb"^@ SOA \S+ \S+ (\d+) ", re.MULTILINE)
_SUM = re.compile(rb"^; content ([0-9a-f]{64})$", re.MULTILINE)
_PLACE = "0" * 64


class UnknownGroup(ValueError):
    """A group that the policy does not have, or two whose zones would have one name."""


class ZoneFiles:
    """The zones of some groups in one folder. Remembers what it wrote: a big zone is made only when it changes."""

    def __init__(self, folder: Path, groups: Sequence[str] = ()) -> None:
        """`groups`: one of each effective policy that is wanted; none: every effective policy, by its first group."""
        self._folder = folder
        self._groups = tuple(groups)
        self._block: dict[str, tuple[object, ...]] = {}

    def write(self, snapshot: Snapshot, now: float) -> tuple[list[str], float]:
        """Write what changed; return the names of those zones, allow zones first, and when to look again.

        Raises `UnknownGroup` or `OSError`.
        """
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        chosen = self._chosen(snapshot)
        changed: list[str] = []
        for allow, _, rules in chosen:
            if self._file(allow, snapshot, allow_zone(rules, snapshot.policy, now)):
                changed.append(allow)
        for _, block, rules in chosen:
            identity = block_zone_identity(rules, snapshot.policy, now)
            if self._block.get(block) != identity:
                if self._file(block, snapshot, block_zone(rules, snapshot.policy, now)):
                    changed.append(block)
                self._block[block] = identity
        return changed, min((next_change(rules, now) for _, _, rules in chosen), default=FOREVER)

    def _chosen(self, snapshot: Snapshot) -> list[tuple[str, str, Rules]]:
        unknown = [group for group in self._groups if group not in snapshot.by_group]
        if unknown:
            known = ", ".join(sorted(snapshot.by_group))
            raise UnknownGroup(f"there is no group {unknown[0]!r}; the groups are: {known}")
        groups = self._groups or tuple({rules.number: rules.groups[0] for rules in snapshot.by_group.values()}.values())
        found = [(*zone_names(group), snapshot.by_group[group]) for group in groups]
        if len({allow for allow, _, _ in found}) != len(found):
            raise UnknownGroup("two groups would share a zone name; name the groups that you want with --group")
        return found

    def path(self, zone: str) -> Path:
        """Return the file of this zone."""
        return self._folder / f"{zone}.zone"

    def _file(self, zone: str, snapshot: Snapshot, entries: Iterable[tuple[str, Answer]]) -> bool:
        """Write one zone file; False when the one that is there says the same."""
        path = self.path(zone)
        try:
            with path.open("rb") as old:
                head = old.read(1000)
        except FileNotFoundError:
            head = b""
        before = int(found[1]) if (found := _SERIAL.search(head)) else 0
        same = found[1].decode() if (found := _SUM.search(head)) else ""
        serial = max(snapshot.policy.created_at, before + 1)
        temporary = path.with_name(f".{path.name}.new")
        digest = hashlib.sha256()
        with temporary.open("w", encoding="ascii", buffering=1 << 20) as file:
            file.write(f"; content {_PLACE}\n; made by schoolgate export rpz; do not edit\n")
            lines = zone_text(zone, serial, entries)
            file.write(next(lines))
            for line in lines:
                file.write(line)
                digest.update(line.encode())
            file.seek(len("; content "))
            file.write(digest.hexdigest())
            file.flush()
            if digest.hexdigest() != same:
                os.fsync(file.fileno())
        if digest.hexdigest() == same:
            temporary.unlink()
            return False
        temporary.replace(path)
        return True


def watch(
    files: ZoneFiles,
    newest: Callable[[int], Snapshot | None],
    reload: Sequence[str],
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Keep the files current until interrupted: after each publication, and at each moment at which a window opens or
    ends. `newest(version)` returns the snapshot that is newer than this version, or None."""
    snapshot: Snapshot | None = None
    again = FOREVER
    waiting: list[str] = []  # zones whose name server has not been told
    tell_at = 0.0
    while True:
        newer = newest(0 if snapshot is None else snapshot.version)
        snapshot = newer or snapshot
        if snapshot is not None and (newer is not None or clock() >= again):
            changed, again = files.write(snapshot, clock())
            waiting += [zone for zone in changed if zone not in waiting]
            tell_at = 0.0
            if changed:
                click.echo(f"version {snapshot.version}: {', '.join(changed)}")
            for note in notes(snapshot) if newer is not None else ():
                click.echo(note, err=True)
        if waiting and clock() >= tell_at:
            if tell(reload, waiting):
                waiting = []
            tell_at = clock() + RETRY
        sleep(POLL)


def notes(snapshot: Snapshot) -> list[str]:
    """What the zones of this snapshot cannot carry, in words."""
    count = max((left_out(rules) for rules in snapshot.by_group.values()), default=0)
    return [f"{count} `via` entries of grants are not in the zones: see docs/rpz.md"] if count else []


def tell(reload: Sequence[str], zones: Sequence[str]) -> bool:
    """Run the reload command with the zones' names; False (and a line on standard error) when it fails."""
    if not reload:
        return True
    try:
        done = subprocess.run([*reload, *zones], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        click.echo(f"{reload[0]}: {error}", err=True)
        return False
    if done.returncode != 0:
        click.echo(f"{reload[0]} ended with status {done.returncode}: {(done.stderr or done.stdout).strip()}", err=True)
    return done.returncode == 0
