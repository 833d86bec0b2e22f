"""The compiled bases that this portal can offer: files named by their digest, in `objects/` of the data folder.

With PostgreSQL the database holds their bytes too, in pieces: a portal on another machine writes its file from them.

A file appears whole (temporary name, fsync, rename) and never changes; the row that names it comes after it, so a
crash leaves at worst a file that nobody names. The digest is compared whenever a file is opened.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import threading
from functools import cache
from pathlib import Path

import zstandard
from sqlalchemy import Connection, Engine, update
from sqlmodel import Session, col, select

from blocklists.base import BadBase, Base
from blocklists.compile import compile_base, seed_sources
from blocklists.seed import Seed, load_seed
from portal import audit
from portal.access import SYSTEM
from portal.config import PortalConfig
from portal.database import reading
from portal.models.delivery import BaseChunk, BaseFile
from portal.outbox import ask_publication

log = logging.getLogger(__name__)

SEED_FILE = "seed"
CHUNK = 4 << 20  # bytes of a piece

shipped_seed = cache(load_seed)  # reading and checking it takes a noticeable part of a start, and it never changes


class Bases:
    """Opens base files by digest and keeps the two newest mapped. Thread-safe; what it returns is immutable."""

    KEEP = 2  # the current one, and the one that a publication under way may still build on

    def __init__(self, data: Path, engine: Engine | None = None) -> None:
        """`engine`: where a file that is not here is looked for, when other portals share the database."""
        self.folder = data / "objects"
        self._engine = engine
        self._lock = threading.Lock()
        self._open: dict[str, Base] = {}

    def path(self, digest: str) -> Path:
        """Return where the base of this digest lies, or would lie. `digest` is 64 hex digits; anything else raises."""
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise ValueError(f"{digest[:80]!r} is no digest")
        return self.folder / digest

    def open(self, digest: str) -> Base:
        """Return the mapped base. Raises `BadBase` (damaged) or `OSError` (not there)."""
        with self._lock:
            found = self._open.get(digest)
            if found is None:
                found = Base.open(self._fetched(digest), digest)
                while len(self._open) >= self.KEEP:
                    self._open.pop(next(iter(self._open)))
                self._open[digest] = found
            return found

    def has(self, digest: str) -> bool:
        """True when this base can be opened here."""
        try:
            return self.file(digest).exists()
        except ValueError:
            return False

    def prune(self, kept: frozenset[str]) -> None:
        """Remove the files of bases that nobody rolls back to. A mapped file stays readable for who holds it."""
        with self._lock:
            for path in self.folder.iterdir() if self.folder.exists() else ():
                if len(path.name) == 64 and path.name not in kept and path.name != self.seed:
                    path.unlink(missing_ok=True)
                    self._open.pop(path.name, None)

    def file(self, digest: str) -> Path:
        """Return where the base of this digest lies, written from the database when another portal made it."""
        with self._lock:
            return self._fetched(digest)

    def _fetched(self, digest: str) -> Path:
        path = self.path(digest)
        if self._engine is not None and shares(self._engine) and not path.exists():
            with reading(self._engine) as session:
                pieces = session.exec(
                    select(BaseChunk.body).where(col(BaseChunk.digest) == digest).order_by(col(BaseChunk.number))
                )
                data = b"".join(pieces)
            if hashlib.sha256(data).hexdigest() == digest:
                _write(path, data)
        return path

    def packed(self, digest: str) -> Path:
        """Return the base as one zstd file with a checksum, made when first asked for. Raises `OSError`."""
        with self._lock:
            plain = self._fetched(digest)
            packed = plain.with_suffix(".zst")
            if not packed.exists():
                compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
                _write(packed, compressor.compress(plain.read_bytes()))
        return packed

    def store(self, data: bytes) -> str:
        """Keep these bytes, durable when this returns; return their digest."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.path(digest)
        if not path.exists() or _digest_of(path) != digest:
            _write(path, data)
        return digest

    @property
    def seed(self) -> str:
        """Digest of the base that was last made from the shipped seed, so that a new release's seed can replace it."""
        try:
            return (self.folder / SEED_FILE).read_text().strip()
        except FileNotFoundError:
            return ""

    def set_seed(self, digest: str) -> None:
        if self.seed != digest:
            _write(self.folder / SEED_FILE, f"{digest}\n".encode())


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, durably."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def ensure_base(config: PortalConfig, session: Session, now: int, seed: Seed | None = None) -> BaseFile:
    """Return the base to publish on, compiled from the seed when there is none or the shipped seed has changed.

    A base that was adopted from elsewhere stays current: it is replaced by a list update, not by a new release's seed.
    One that another portal made is fetched from the database. One whose file is nowhere any more gives way to the seed.
    """
    bind = session.get_bind()
    bases = Bases(config.data, bind if isinstance(bind, Engine) else bind.engine)
    current = current_base(session)
    if current is not None and current.digest != bases.seed:
        if bases.file(current.digest).exists():
            return current
        log.warning("the base %s is not there any more: the shipped lists stand in for it", current.digest[:16])
    data = compile_base(seed_sources(seed or shipped_seed()))
    digest = bases.store(data)
    bases.set_seed(digest)
    return _make_current(session, digest, data, Base(memoryview(data), digest).keys, now)


def adopt_base(config: PortalConfig, session: Session, path: Path, now: int) -> BaseFile:
    """Make the base file at `path` the current one; return its row. Raises `BadBase` or `OSError`."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    base = Base(memoryview(data), digest)
    return _make_current(session, Bases(config.data).store(data), data, base.keys, now)


def current_base(session: Session) -> BaseFile | None:
    """Return the row of the base that the next policy is made for; None before the first start."""
    return session.exec(select(BaseFile).where(col(BaseFile.current))).first()


def require_base(session: Session) -> BaseFile:
    found = current_base(session)
    if found is None:
        raise BadBase("there is no base yet: the portal has not finished its first start")
    return found


def shares(engine: Engine | Connection) -> bool:
    """True when other portals, perhaps on other machines, may use the same database."""
    return engine.dialect.name == "postgresql"


def _share(session: Session, digest: str, data: bytes) -> None:
    session.flush()
    if shares(session.get_bind()) and session.get(BaseChunk, (digest, 0)) is None:
        for number, start in enumerate(range(0, len(data), CHUNK)):
            session.add(BaseChunk(digest=digest, number=number, body=data[start : start + CHUNK]))


def make_current(session: Session, files: Bases, digest: str, size: int, names: int, now: int) -> None:
    """Make the stored base the one that the next policy is made for; the caller audits and asks for publication."""
    session.execute(update(BaseFile).where(col(BaseFile.digest) != digest).values(current=False))
    row = session.get(BaseFile, digest) or BaseFile(digest=digest, size=size, names=names, created_at=now)
    row.current = True
    session.add(row)
    if shares(session.get_bind()):
        _share(session, digest, files.path(digest).read_bytes())


def _make_current(session: Session, digest: str, data: bytes, names: int, now: int) -> BaseFile:
    """Audited, and a publication is asked for, when this is another base than before."""
    row = session.get(BaseFile, digest)
    if row is not None and row.current:
        return row
    session.execute(update(BaseFile).where(col(BaseFile.digest) != digest).values(current=False))
    if row is None:
        row = BaseFile(digest=digest, size=len(data), names=names, created_at=now)
    row.current = True
    session.add(row)
    _share(session, digest, data)
    detail: dict[str, audit.Plain] = {"digest": digest, "names": names}
    ask_publication(session, now * 1000, audit.record(session, SYSTEM, now * 1000, "lists.base.adopt", "base", detail))
    return row
