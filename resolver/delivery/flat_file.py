"""The flat file beside a kept policy: made by whoever verified the policy, mapped by workers, gone with the policy.

`objects/<sha256>.flat` is only a faster way to the same policy. A worker that finds none, or one that is damaged, of
another format or of another policy, reads the policy itself. Its own digest says that it is whole, not who made it: so
whoever verifies a policy (each offer, and what is kept at every boot) makes its flat file anew and compares. One that
differs is replaced before a worker may open it.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from blocklists.flat import BadFlat, Flat, flatten
from blocklists.policy import Policy
from resolver import durable

log = logging.getLogger("schoolgate.resolver")


def path(objects: Path, digest: str) -> Path:
    """Return where the flat file of the policy with this digest is, or would be."""
    return objects / f"{digest}.flat"


def keep(objects: Path, policy: Policy, digest: str) -> None:
    """See that the flat file of this verified policy is there, as it must be.

    Where it cannot be written (disk full, read-only) workers read the policy itself; `OSError` only when a file that
    they would take for the right one is in the way and cannot be removed.
    """
    wanted, place = flatten(policy, digest), path(objects, digest)
    with contextlib.suppress(OSError):
        if place.stat().st_size == len(wanted) and place.read_bytes() == wanted:
            return
    try:
        durable.write(place, wanted)
    except OSError as error:
        log.warning("workers read the policy itself, its flat file cannot be written: %s", error.strerror or error)
        if opened(objects, digest) is not None:
            place.unlink()


def opened(objects: Path, digest: str) -> Flat | None:
    """Return the mapped flat file of the policy with this digest, or None: read the policy itself."""
    try:
        return Flat.open(path(objects, digest), digest)
    except (BadFlat, OSError):
        return None
