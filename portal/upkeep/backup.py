"""Backup and restore: one file that holds the district's portal, made while it runs.

    FILE = zstd( tar( manifest.json, tables/NAME.jsonl …, objects/DIGEST …, keys.sealed?, end.json ) )

The rows are read in one snapshot and written as plain JSON, so the file does not depend on the kind of database: what
SQLite wrote, PostgreSQL restores. Left out: signed-in browsers and enrolment tokens, which do not outlive a machine.
The keys folder goes in only when it is sealed with a passphrase (scrypt, RFC 7914; AES-256-GCM). `end.json` holds the
SHA-256 of every member: a file that was cut or altered is refused before anything is written.

A restored portal is *held*: see `portal.nodes.restoration`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import secrets
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from sqlalchemy import Engine, LargeBinary, MetaData, Table, func, insert, select, text
from sqlalchemy.engine import Connection

from portal import migrations
from portal.database import connect
from portal.lists.bases import Bases

FORMAT = 1
_LEFT_OUT = frozenset(
    {"alembic_version", "web_session", "enrolment_token", "sign_in_step", "base_chunk", "list_copy", "mail"}
)
_BATCH = 500  # rows of one insert
_LIMIT = 64 << 30  # bytes unpacked: no district's portal is larger
_SCRYPT = {"n": 2**16, "r": 8, "p": 1}  # 64 MB, a fraction of a second


class BadBackup(Exception):
    """A file that is no backup, is damaged, is of a newer release, or cannot be restored there. Says what to do."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a backup holds. `rows` by table; `version` is the newest policy's, None before the first."""

    district: str
    made_at: int
    version: int | None
    rows: dict[str, int]
    keys: bool


def write(engine: Engine, data: Path, target: Path, passphrase: str | None, now: float) -> Summary:
    """Write a backup to `target`, whole or not at all, mode 0600. The portal may run meanwhile. Raises `OSError`."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with zstandard.ZstdCompressor(level=6, write_checksum=True).stream_writer(file, closefd=False) as packed:
                summary = _pack(engine, data, packed, passphrase, now)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return summary


def _pack(engine: Engine, data: Path, packed: Any, passphrase: str | None, now: float) -> Summary:
    digests: dict[str, str] = {}
    with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar, _snapshot(engine) as connection:

        def add(name: str, content: IO[bytes]) -> None:
            content.seek(0, os.SEEK_END)
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = content.tell(), int(now), 0o600
            content.seek(0)
            digests[name] = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
            content.seek(0)
            tar.addfile(member, content)

        tables = _tables(connection)
        district = connection.execute(text("SELECT slug FROM district")).scalar_one()
        version = connection.execute(text("SELECT max(version) FROM policy_version")).scalar()
        schema = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        head = {"format": FORMAT, "district": district, "made_at": int(now), "version": version, "schema": schema}
        add("manifest.json", io.BytesIO(json.dumps(head).encode()))
        rows = {}
        for table in tables:
            with tempfile.TemporaryFile() as lines:
                rows[table.name] = _dump(connection, table, lines)
                add(f"tables/{table.name}.jsonl", lines)
        current = connection.execute(text("SELECT digest FROM base_file WHERE current")).scalars().all()
        bases = Bases(data, engine)
        for digest in current:
            with bases.file(digest).open("rb") as content:
                add(f"objects/{digest}", content)
        if passphrase is not None:
            add("keys.sealed", io.BytesIO(_seal(_folder(data / "keys"), passphrase)))
        add("end.json", io.BytesIO(json.dumps(digests).encode()))
    return Summary(district, int(now), version, rows, passphrase is not None)


def _snapshot(engine: Engine) -> Connection:
    """A connection whose reads all see one moment; on SQLite a deferred transaction does (WAL)."""
    options: dict[str, Any] = {"schoolgate_reads": True}
    if engine.dialect.name == "postgresql":
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    return engine.connect().execution_options(**options)


def _tables(connection: Connection) -> list[Table]:
    """The tables as they are, parents first: independent of what this release's models say."""
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name not in _LEFT_OUT]


def _dump(connection: Connection, table: Table, lines: IO[bytes]) -> int:
    binary = {column.name for column in table.columns if isinstance(column.type, LargeBinary)}
    count = 0
    ordered = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=_BATCH)
    for row in connection.execute(ordered).mappings():
        plain = {key: base64.b64encode(value).decode() if key in binary else value for key, value in row.items()}
        lines.write(json.dumps(plain, ensure_ascii=False).encode() + b"\n")
        count += 1
    return count


def read(source: Path, data: Path, database: str, passphrase: str | None) -> Summary:
    """Restore `source` into an empty data folder and an empty database; the portal there is held.

    Everything is checked before anything is written. Raises `BadBackup` or `OSError`.
    """
    if (data / "keys").exists() or (data / "portal.sqlite").exists():
        raise BadBackup(f"{data} already holds a portal: restore into an empty folder")
    with tempfile.TemporaryDirectory(dir=source.parent, prefix=".restore-") as aside:
        unpacked = Path(aside)
        _unpack(source, unpacked)
        head = json.loads((unpacked / "manifest.json").read_bytes())
        if head.get("format") != FORMAT:
            raise BadBackup(f"{source} has format {head.get('format')}: a newer release of Schoolgate wrote it")
        sealed = unpacked / "keys.sealed"
        keys = _keys(sealed, passphrase, source)
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        engine = connect(database)
        try:
            rows = _fill(engine, unpacked / "tables", str(head["schema"]), int(head["made_at"]))
            for content in (unpacked / "objects").glob("*"):
                Bases(data).store(content.read_bytes())
        finally:
            engine.dispose()
        for name, value in keys.items():
            _place(data / "keys" / name, value)
    return Summary(str(head["district"]), int(head["made_at"]), head["version"], rows, bool(keys))


def _unpack(source: Path, into: Path) -> None:
    found: dict[str, str] = {}
    size = 0
    try:
        _whole(source)
        with (
            source.open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file) as plain,
            tarfile.open(fileobj=plain, mode="r|") as tar,
        ):
            for member in tar:
                size += member.size
                if not member.isreg() or not _expected(member.name) or size > _LIMIT:
                    raise BadBackup(f"{source} holds {member.name[:80]!r}, which no backup has")
                content = tar.extractfile(member)
                assert content is not None  # a regular file
                path = into / member.name
                path.parent.mkdir(exist_ok=True)
                with path.open("wb") as out:
                    shutil.copyfileobj(content, out)
                with path.open("rb") as again:
                    found[member.name] = hashlib.file_digest(again, "sha256").hexdigest()
        end = json.loads((into / "end.json").read_bytes())
    except FileNotFoundError as error:
        raise BadBackup(f"{error.filename}: there is no such file, or the backup was cut before its end") from None
    except (zstandard.ZstdError, tarfile.TarError, EOFError, ValueError) as error:
        raise BadBackup(f"{source} is no whole backup ({error}): take another one") from None
    found.pop("end.json", None)
    if end != found:
        raise BadBackup(f"{source} is damaged: what it holds is not what its last page lists. Take another one")


def _whole(source: Path) -> None:
    """Read to the end of the zstd frame, where its checksum of the content stands. Raises `EOFError`, `ZstdError`."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    with source.open("rb") as file:
        while not frame.eof and (chunk := file.read(4096)):  # so that a hostile one cannot unpack to gigabytes at once
            frame.decompress(chunk)
        if not frame.eof or frame.unused_data or file.read(1):
            raise EOFError("it does not end where a backup ends")


def _expected(name: str) -> bool:
    folder, _, rest = name.rpartition("/")
    if folder == "tables":
        return rest.endswith(".jsonl") and rest.removesuffix(".jsonl").replace("_", "").isalnum()
    if folder == "objects":
        return len(rest) == 64 and set(rest) <= set("0123456789abcdef")
    return name in ("manifest.json", "keys.sealed", "end.json")


def _fill(engine: Engine, folder: Path, schema: str, made_at: int) -> dict[str, int]:
    """Make the tables as they were, fill them, then bring them to this release's shape."""
    if schema not in migrations.known():
        raise BadBackup(f"the backup's tables have shape {schema}: a newer release of Schoolgate wrote it")
    with engine.connect() as connection:
        present = MetaData()
        present.reflect(connection)
        if "district" in present.tables:
            raise BadBackup("the database already holds a portal: restore into an empty one")
    migrations.upgrade(engine, schema)
    rows: dict[str, int] = {}
    with engine.begin() as connection:
        for table in _tables(connection):
            path = folder / f"{table.name}.jsonl"
            rows[table.name] = _load(connection, table, path) if path.exists() else 0
    migrations.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE district SET held_at = :now"), {"now": made_at})
    return rows


def _load(connection: Connection, table: Table, path: Path) -> int:
    binary = [column.name for column in table.columns if isinstance(column.type, LargeBinary)]
    count = 0
    for batch in _batches(path):
        for row in batch:
            for name in binary:
                row[name] = None if row[name] is None else base64.b64decode(row[name])
        connection.execute(insert(table), batch)
        count += len(batch)
    keys = list(table.primary_key.columns)
    if count and connection.dialect.name == "postgresql" and len(keys) == 1:
        name = keys[0].name
        sequence = connection.scalar(text("SELECT pg_get_serial_sequence(:table, :column)"), _named(table, name))
        if sequence:
            largest = connection.scalar(select(func.max(keys[0])))
            connection.execute(text("SELECT setval(:sequence, :value)"), {"sequence": sequence, "value": largest})
    return count


def _named(table: Table, column: str) -> dict[str, str]:
    return {"table": f'"{table.name}"', "column": column}


def _batches(path: Path) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    with path.open("rb") as lines:
        for line in lines:
            batch.append(json.loads(line))
            if len(batch) == _BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


# Keys


def _folder(keys: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(keys.iterdir()) if path.is_file()}


def _seal(files: dict[str, bytes], passphrase: str) -> bytes:
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    plain = json.dumps({name: base64.b64encode(value).decode() for name, value in files.items()}).encode()
    sealed = AESGCM(_derived(passphrase, salt)).encrypt(nonce, plain, b"schoolgate-backup-keys")
    parts = {"salt": salt, "nonce": nonce, "sealed": sealed}
    return json.dumps({name: base64.b64encode(value).decode() for name, value in parts.items()}).encode()


def _derived(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, **_SCRYPT).derive(passphrase.encode())


def _keys(sealed: Path, passphrase: str | None, source: Path) -> dict[str, bytes]:
    if not sealed.exists():
        return {}
    if passphrase is None:
        raise BadBackup(f"{source} holds the keys, sealed: give the passphrase with --passphrase-file FILE")
    try:
        parts = {name: base64.b64decode(value) for name, value in json.loads(sealed.read_bytes()).items()}
        plain = AESGCM(_derived(passphrase, parts["salt"])).decrypt(
            parts["nonce"], parts["sealed"], b"schoolgate-backup-keys"
        )
    except InvalidTag:
        raise BadBackup("the passphrase does not open the keys in this backup") from None
    except (ValueError, KeyError) as error:
        raise BadBackup(f"the keys in {source} are damaged: {error}") from None
    files = {name: base64.b64decode(value) for name, value in json.loads(plain).items()}
    if any("/" in name or name.startswith(".") for name in files):
        raise BadBackup(f"the keys in {source} have names that no key has")
    return files


def _place(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
