"""The state folder's snapshots: verified before they are kept, kept before they are served.

    objects/<sha256>        policies and bases, immutable
    objects/<sha256>.flat   the same policy as one file that workers map (`flat_file.py`)
    current.json            what this node serves: version, digest, signature, base
    previous.json           what it served before: the way back when current turns out damaged

The subscription process calls `accept`; a short-lived child verifies what is kept at every boot (`verify_current`);
both make the flat file of what they verified. Workers call `load`, which compares digests and nothing dearer, and maps
the flat file; without a sound one it reads the policy itself. Nothing here touches the network. Heavy imports
(signatures) happen inside the functions that need them, so that workers and supervisor stay small.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from blocklists.base import BadBase, Base
from blocklists.policy import Policy
from blocklists.policy_codec import MAX_BYTES, BadPolicy, load
from blocklists.snapshot import BadSnapshot, Snapshot, flat_snapshot, make_snapshot, open_snapshot
from resolver import durable
from resolver.delivery import flat_file

if TYPE_CHECKING:
    from blocklists.exchange import Offer

OBJECTS = "objects"
CURRENT = "current.json"
PREVIOUS = "previous.json"
LOCK = "store.lock"
_HEX = frozenset("0123456789abcdef")

# Writes the object of this digest to the file, or raises. Asked only after the policy itself was found good.
BaseSource = Callable[[str, BinaryIO], None]


class Refused(ValueError):
    """A snapshot that will not be served, and why. What was served before keeps serving.

    `alarm` is set when the reason cannot be an accident of transport: an administrator should look. `passing` is set
    when the same offer may be taken later: a full disk is emptied.
    """

    def __init__(self, reason: str, *, alarm: bool = False, passing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.alarm = alarm
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Pin:
    """Our district and the 32 bytes of its portal's public key; what an `older` key signed is accepted too."""

    district: str
    public_key: bytes
    older: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """One kept snapshot. `seen_*` is the newest ever accepted: it outlives a fall-back, so versions only grow."""

    version: int
    digest: str
    signature: str
    base: str
    seen_version: int
    seen_digest: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What a boot found: the snapshot to serve (None: nothing usable), and what was wrong with a better one."""

    held: Held | None
    warning: str


class PolicyStore:
    """The snapshots under one state folder. Writers exclude each other by a file lock; readers need none."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._objects = state / OBJECTS
        self._accepted: Snapshot | None = None  # the last one that was found good here: the next resembles it
        self._base: tuple[Base, tuple[int, int, int]] | None = None  # the last one hashed, and its file's identity

    @property
    def state(self) -> Path:
        """The folder that everything lies in."""
        return self._state

    def create(self) -> None:
        """Make the folders, mode 0700, where they are missing; remove what a killed writer left. Raises `OSError`."""
        for folder in (self._state, self._objects):
            durable.private_folder(folder)
            durable.clear_unfinished(folder)

    def held(self) -> Held | None:
        """Return what `current.json` names, or None before the first snapshot. Raises `Refused` when it is damaged."""
        return self._read(CURRENT)

    def load(self, previous: Snapshot | None) -> Snapshot | None:
        """Return the current snapshot, or None before the first one. Keeps the base of `previous` when it is the same.

        Signatures were checked by whoever wrote `current.json` and again at boot. Raises `Refused`.
        """
        held = self._read(CURRENT)
        if held is None:
            return None
        if previous is not None and previous.digest == held.digest:
            return previous
        try:
            same = previous is not None and previous.base.digest == held.base
            base = previous.base if previous and same else Base.open(self._objects / held.base, held.base)
            if (flat := flat_file.opened(self._objects, held.digest)) is not None:
                if previous is None:  # a birth: rot in what the flat file was made of is noticed, and mended
                    self._check_whole(held.digest)
                return flat_snapshot(flat, held.digest, base)
            return open_snapshot(self._object(held.digest), base, previous)
        except (BadBase, BadSnapshot, OSError) as error:
            raise Refused(f"version {held.version} cannot be opened: {error}") from error

    def kept_policy(self, digest: str) -> bytes | None:
        """Return the policy bytes kept under `digest`, or None when they are missing or damaged."""
        try:
            return self._object(digest)
        except (Refused, OSError):
            return None

    def accept(self, offer: Offer, policy: bytes, base_source: BaseSource, pin: Pin) -> Held:
        """Check `policy` against `offer` and `pin`, keep it with its base, durably, and make it current.

        Raises `Refused`, a full or read-only disk included; then `current.json` is what it was. What `base_source`
        raises (transport) passes through. Accepting what is already current changes nothing.
        """
        self._check_signed(offer.digest, offer.signature, policy, pin)
        read = _read_policy(policy, pin)
        if (read.version, read.base) != (offer.version, offer.base):
            raise Refused("the policy is of another version or base than its offer says", alarm=True)
        try:
            self._check_order(offer)
            base = self._base_for(offer.base, base_source)  # may take minutes: not under the lock
            try:
                self._accepted = make_snapshot(read, offer.digest, base, self._accepted)
            except BadSnapshot as error:
                raise Refused(str(error)) from error
            with self._exclusive():
                return self._keep(offer, policy, read)
        except OSError as error:
            raise Refused(f"the state folder cannot keep it: {error.strerror or error}", passing=True) from error

    def _keep(self, offer: Offer, policy: bytes, read: Policy) -> Held:
        before = self._read_or_none(CURRENT)
        self._check_order(offer)
        held = Held(offer.version, offer.digest, offer.signature, offer.base, offer.version, offer.digest)
        if before == held and (self._objects / offer.digest).exists():
            flat_file.keep(self._objects, read, offer.digest)
            return held
        durable.write(self._objects / offer.digest, policy)
        flat_file.keep(self._objects, read, offer.digest)
        if before is not None and before.digest != held.digest:
            durable.link(self._state / CURRENT, self._state / PREVIOUS)
        self._write(CURRENT, held)
        self._tidy()
        return held

    def _check_order(self, offer: Offer) -> None:
        for name in (CURRENT, PREVIOUS):
            held = self._read_or_none(name)
            if held is None:
                continue
            if offer.version < held.seen_version:
                raise Refused(f"version {offer.version} is older than {held.seen_version}, which this node has had")
            if offer.version == held.seen_version and offer.digest != held.seen_digest:
                raise Refused(
                    f"ALARM: version {offer.version} was offered with two different contents: "
                    f"{held.seen_digest[:16]}… before, {offer.digest[:16]}… now",
                    alarm=True,
                )

    def revert(self) -> Held | None:
        """Make the previous snapshot current again, because workers could not serve this one; None without one.

        Raises `Refused` when that cannot be written.
        """
        try:
            with self._exclusive():
                current, previous = self._read_or_none(CURRENT), self._read_or_none(PREVIOUS)
                if previous is None:
                    return None
                return self._fall_back(previous, current)
        except OSError as error:
            raise Refused(f"the state folder cannot be written: {error.strerror or error}") from error

    def verify_current(self, pin: Pin) -> Verified:
        """Check signature and every byte of what is kept; fall back to the previous snapshot when current is damaged.

        What does not verify is renamed to `*.refused`, so that no worker can load it. Raises `OSError` when that
        cannot be done.
        """
        problems: list[str] = []
        current: Held | None = None
        with self._exclusive():
            for name in (CURRENT, PREVIOUS):
                held = None
                try:
                    held = self._read(name)
                    if held is None:
                        continue
                    self._verify(held, pin)
                except (Refused, OSError) as error:
                    problems.append(f"{name}: {error}")
                    if name == CURRENT and not getattr(error, "alarm", False):
                        current = held  # rotted, not forged: what it says of the newest version seen still counts
                    continue
                if name == PREVIOUS:
                    held = self._fall_back(held, current)
                    problems.append(f"serving version {held.version} instead")
                return Verified(held, "; ".join(problems))
            if problems:
                for name in (CURRENT, PREVIOUS):
                    with contextlib.suppress(FileNotFoundError):
                        (self._state / name).replace(self._state / f"{name}.refused")
                durable.sync_folder(self._state)
        return Verified(None, "; ".join(problems))

    def _verify(self, held: Held, pin: Pin) -> None:
        policy = self._object(held.digest)
        self._check_signed(held.digest, held.signature, policy, pin)
        read = _read_policy(policy, pin)
        if (read.version, read.base) != (held.version, held.base):
            raise Refused("the kept policy is of another version or base than its pointer says", alarm=True)
        try:
            make_snapshot(read, held.digest, Base.open(self._objects / held.base, held.base))
        except (BadBase, BadSnapshot) as error:
            raise Refused(str(error)) from error
        flat_file.keep(self._objects, read, held.digest)

    @staticmethod
    def _check_signed(digest: str, signature: str, policy: bytes, pin: Pin) -> None:
        from blocklists.signature import BadSignature, verify

        if hashlib.sha256(policy).hexdigest() != digest:
            raise Refused("the policy's bytes are not those that were offered: their digest differs")
        for key in (pin.public_key, *pin.older):
            try:
                verify(policy, signature, key)
                return
            except BadSignature as error:
                refused = error
        raise Refused(str(refused), alarm=True) from refused

    def _base_for(self, digest: str, source: BaseSource) -> Base:
        """The base with this digest: the one hashed last, the one on disk when whole, or one fetched from `source`."""
        path = self._objects / digest
        with contextlib.suppress(FileNotFoundError):
            if self._base is not None and self._base[0].digest == digest and self._base[1] == _identity(path):
                return self._base[0]
        try:
            base = Base.open(path, digest)
        except (BadBase, FileNotFoundError):
            with durable.written_aside(path) as file:
                source(digest, file)
                file.seek(0)
                if (found := hashlib.file_digest(file, "sha256").hexdigest()) != digest:
                    raise Refused(f"the base that came is damaged: its digest is {found[:16]}…") from None
            try:
                base = Base.open(path, digest)
            except BadBase as error:
                raise Refused(str(error)) from error
        self._base = (base, _identity(path))
        return base

    def _object(self, digest: str) -> bytes:
        path = self._objects / digest
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if hashlib.sha256(data).hexdigest() != digest:
            raise Refused(f"the kept policy {digest[:16]}… is damaged")
        return data

    def _check_whole(self, digest: str) -> None:
        with (self._objects / digest).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise Refused(f"the kept policy {digest[:16]}… is damaged")

    def _fall_back(self, previous: Held, current: Held | None) -> Held:
        if current is not None and current.seen_version > previous.seen_version:
            previous = replace(previous, seen_version=current.seen_version, seen_digest=current.seen_digest)
        self._write(CURRENT, previous)
        return previous

    def _read(self, name: str) -> Held | None:
        try:
            data = (self._state / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Refused(f"{name} cannot be read: {error.strerror or error}") from error
        try:
            plain = json.loads(data)
            held = Held(**plain)
        except (ValueError, TypeError, RecursionError):
            raise Refused(f"{name} is damaged") from None
        numbers = (held.version, held.seen_version)
        digests = (held.digest, held.base, held.seen_digest)
        if not all(type(one) is int and one > 0 for one in numbers):
            raise Refused(f"{name} is damaged: a version is no positive number")
        if not all(type(one) is str and len(one) == 64 and set(one) <= _HEX for one in digests):
            raise Refused(f"{name} is damaged: a digest is no SHA-256")
        if type(held.signature) is not str:
            raise Refused(f"{name} is damaged: the signature is no text")
        return held

    def _read_or_none(self, name: str) -> Held | None:
        """For writers, which replace a damaged pointer and need nothing from it."""
        try:
            return self._read(name)
        except Refused:
            return None

    def _write(self, name: str, held: Held) -> None:
        durable.write(self._state / name, json.dumps(asdict(held), indent=1).encode() + b"\n")

    def _tidy(self) -> None:
        """Remove what neither pointer names, unfinished downloads included. Failing to is no reason to refuse."""
        kept: set[str] = set()
        for name in (CURRENT, PREVIOUS):
            if (held := self._read_or_none(name)) is not None:
                kept |= {held.digest, held.base, flat_file.path(self._objects, held.digest).name}
        with contextlib.suppress(OSError):
            for path in self._objects.iterdir():
                if path.name not in kept:
                    path.unlink()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        try:
            number = os.open(self._state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:  # a disk that became read-only: what is kept can still be verified
            number = os.open(self._state / LOCK, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield
        finally:
            os.close(number)


def _read_policy(data: bytes, pin: Pin) -> Policy:
    try:
        policy = load(data)
    except BadPolicy as error:
        raise Refused(str(error)) from error
    if policy.district != pin.district:
        raise Refused(f"the policy is of district {policy.district[:80]!r}, not {pin.district!r}", alarm=True)
    return policy


def _identity(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
