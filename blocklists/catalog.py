"""The catalog: public lists that a district can switch on, read from `data/catalog.toml`.

Nothing here is on by itself, and nothing here fetches: a `Source` says where a list is, how it is written, whose it is,
how often and when its keeper wants to be asked, and between which sizes it is believable. Text goes in; sources come
out, or one `BadCatalog` with every mistake, its line and its remedy.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from blocklists.formats.detect import Format
from blocklists.formats.findings import BadList
from blocklists.parse import Parsed, parse, read_chunks, summarise
from blocklists.tables import Mistakes, Reading, Table

CATALOG_FILE = "catalog.toml"
FORMATS = tuple(format.value for format in Format)
MAX_NAMES = 20_000_000
MAX_BYTES = 1 << 30
_WEEKS = 24 * 7
_KEYS = (
    *("id", "title", "category", "url", "format", "member", "licence", "home"),
    *("every_hours", "quiet", "least", "most", "max_bytes", "note"),
)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Whole hours of the day, `[start, end)` in `zone`, in which the keeper of a list asks not to be disturbed."""

    start: int
    end: int
    zone: str


@dataclass(frozen=True, slots=True)
class Source:
    """One public list. `least` and `most` are names: outside of them it is not believed. `max_bytes` is inflated."""

    id: str
    title: str
    category: str
    url: str
    format: Format
    member: str | None  # the file of a collection's archive that is meant
    licence: str
    home: str
    every_hours: int
    quiet: QuietHours | None
    least: int
    most: int
    max_bytes: int
    note: str


class BadCatalog(Mistakes):
    """The catalog holds mistakes."""


def load_catalog(categories: Collection[str], path: Path | None = None) -> tuple[Source, ...]:
    """Return the sources in the file at `path`, by default those that ship with the product, in the file's order.

    `categories` are the ids that a source may name. Raises `BadCatalog`.
    """
    file: Traversable = resources.files("blocklists").joinpath("data", CATALOG_FILE) if path is None else path
    reading = Reading()
    found: list[Source] = []
    if (top := reading.top(file)) is not None:
        top.only("source")
        found = [_source(table, tuple(sorted(categories))) for table in top.tables("source", required=True)]
    if reading.mistakes:
        raise BadCatalog(reading.mistakes)
    return tuple(found)


def _source(table: Table, categories: tuple[str, ...]) -> Source:
    table.only(*_KEYS)
    format = table.choice("format", FORMATS)
    source = Source(
        id=table.identity("source"),
        title=table.text("title"),
        category=table.choice("category", categories),
        url=_url(table, "url"),
        format=Format(format) if format else Format.DOMAINS,
        member=table.text("member") if table.has("member") else None,
        licence=table.text("licence"),
        home=_url(table, "home"),
        every_hours=table.number("every_hours", 1, 4 * _WEEKS),
        quiet=_quiet(table.table("quiet")) if table.has("quiet") else None,
        least=table.number("least", 1, MAX_NAMES),
        most=table.number("most", 1, MAX_NAMES),
        max_bytes=table.number("max_bytes", 1, MAX_BYTES),
        note=table.text("note") if table.has("note") else "",
    )
    if 0 < source.most < source.least:
        table.mistake(table.line("least"), "the least number of names is above the most", "exchange them")
    if source.member is not None and source.format is not Format.V2FLY:
        table.mistake(table.line("member"), "only a v2fly collection has members", "remove this key")
    return source


def _url(table: Table, key: str) -> str:
    url = table.text(key)
    if url and (fault := bad_url(url)) is not None:
        table.mistake(table.line(key), f"{url!r} is not the address of a list: {fault}", "write https://host/path")
    return url


def bad_url(url: str) -> str | None:
    """Return why a list cannot be at `url`, or None: https, a host, no name or password in it, no fragment."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it cannot be read"
    if not url.isascii() or any(one.isspace() for one in url):
        return "it has spaces or letters that have to be escaped"
    if parts.scheme != "https":
        return "it does not begin with https://"
    if not host:
        return "it names no host"
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "it has more in it than host, path and query"
    return None


def _quiet(table: Table) -> QuietHours:
    table.only("from", "until", "zone")
    start, end, zone = table.number("from", 0, 23), table.number("until", 1, 24), table.text("zone")
    if 0 < end <= start:
        table.mistake(table.line("from"), "the quiet hours end before they begin", "write them within one day")
    try:
        ZoneInfo(zone or "UTC")
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        table.mistake(table.line("zone"), f"{zone!r} is no time zone", "write it like Europe/Paris")
    return QuietHours(start, end, zone)


def due_at(source: Source, checked_at: float | None, failures: int, now: float) -> float:
    """Return when `source` may be asked next, in seconds since 1970; `now` or earlier means now.

    `checked_at` is the last time that it was asked, None for never; `failures` counts the failed attempts since it last
    answered. A failed source is asked again sooner than its cadence, later and later, never more often than hourly.
    """
    if checked_at is None:
        due = now
    else:
        hours = source.every_hours if failures == 0 else min(source.every_hours, 2 ** min(failures - 1, 8))
        due = checked_at + 3600 * max(1, hours)
    return _after_quiet(source.quiet, max(due, now)) if source.quiet is not None else due


def _after_quiet(quiet: QuietHours, moment: float) -> float:
    """`moment`, or the end of the quiet hours that it falls into."""
    zone = ZoneInfo(quiet.zone)
    local = datetime.fromtimestamp(moment, zone)
    if not quiet.start <= local.hour < quiet.end:
        return moment
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    end = midnight.replace(hour=quiet.end) if quiet.end < 24 else midnight + timedelta(days=1)
    return end.timestamp()


class Sized(Protocol):
    """A list with the sizes, in names, between which it is believed."""

    @property
    def least(self) -> int: ...

    @property
    def most(self) -> int: ...


def unbelievable(source: Sized, parsed: Parsed) -> str | None:
    """Return why what was read cannot be this source's list, or None: its size, or that most lines made no sense."""
    if parsed.found < source.least:
        return f"it has {parsed.found:,} names; fewer than {source.least:,} are not this list"
    if parsed.found > source.most:
        return f"it has {parsed.found:,} names; more than {source.most:,} are not this list"
    if parsed.rejected > parsed.found:
        return f"{parsed.rejected:,} of its lines made no sense and {parsed.found:,} did; is it in another format now?"
    return None


def judge(source: Source, path: Path) -> Parsed:
    """Return what the file at `path` holds when it can be this source's list. Raises `BadList` or `OSError`."""
    parsed = summarise(parse(read_chunks(path), source.format, member=source.member))
    if (fault := unbelievable(source, parsed)) is not None:
        raise BadList(fault)
    return parsed
