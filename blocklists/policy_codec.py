"""`Policy` to canonical JSON bytes and back.

`dump` is deterministic: the same policy, the same bytes. `load` is strict: duplicate keys, floats, unknown or missing
fields and values out of bounds are refused with one declared error that names the path. Signatures and digests are
over the stored bytes; `signature.py` has checked them before anything here runs.

One decision changes one grant of thousands: grants are written and read one by one, and those of the policy before are
remembered (`_Written`, `_Read`), so that a version costs what it changes.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from functools import cache
from reprlib import repr as shown  # bounded in length and depth: what is refused may be huge, or nested deeply
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from blocklists import clients, names
from blocklists.policy import EVERY_SITE, UNASSIGNED, Correction, CustomBlock, Entry, Grant, Match, Policy, Window

FORMAT = 1
MAX_BYTES = 64 * 1024 * 1024
MAX_INT = 2**53  # what every JSON reader carries exactly
MAX_TIME = 32_503_680_000  # the year 3000: a calendar can hold every moment of a policy
MAX_TEXT = 1000  # characters of one string

_DIGEST = re.compile("[0-9a-f]{64}")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")  # control characters, and halves that UTF-8 cannot hold


class BadPolicy(ValueError):
    """Bytes that are no policy of this format. The message names the path and what is wrong there."""


def dump(policy: Policy) -> bytes:
    """Return the canonical bytes of `policy`: JSON, keys in the order of the fields, no spaces, UTF-8."""
    parts = (f'"{name}":{_part_text(name, getattr(policy, name))}' for name in _fields(Policy))
    return ("{" + ",".join(parts) + "}").encode()


def _part_text(name: str, value: Any) -> str:
    return f"[{','.join(_written.texts(value))}]" if name == "grants" and value else _text(_plain(value))


class _Written:
    """The texts of the grants that were dumped last. Readers keep what they hold: it is replaced whole."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, tuple[Grant, str]] = {}

    def texts(self, grants: Sequence[Grant]) -> list[str]:
        known, found, texts = self._known, {}, []
        for grant in grants:
            pair = known.get(grant.number)
            if pair is None or pair[0] is not grant:
                pair = grant, _text(_plain(grant))
            found[grant.number] = pair
            texts.append(pair[1])
        self._known = found
        return texts


_written = _Written()


def _text(plain: Any) -> str:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        cls: type = type(value)
        return {field: _plain(getattr(value, field)) for field in _fields(cls)}
    return value


@cache
def _fields(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


def load(data: bytes) -> Policy:
    """Return the policy that `data` holds, or raise `BadPolicy`."""
    if len(data) > MAX_BYTES:
        raise BadPolicy(f"a policy has at most {MAX_BYTES} bytes; this one has {len(data)}")
    return _load_by_parts(data) or _load_whole(data)


def _load_whole(data: bytes) -> Policy:
    plain = _json(data)
    if isinstance(plain, dict) and plain.get("format") != FORMAT:
        raise BadPolicy(f"format {shown(plain.get('format'))}: this program reads format {FORMAT}")
    policy: Policy = _reader(Policy)(plain, "policy")
    for grant in policy.grants:
        _check_grant(grant)
    _check(policy)
    return policy


_GRANTS, _NEXT, _FIRST = b'"grants":[', b'],"corrections":', b'{"number":'
_BETWEEN = b"}," + _FIRST


def _load_by_parts(data: bytes) -> Policy | None:
    """The policy of bytes that `dump` wrote, its grants read one by one; None when they are not quite that.

    The marks cannot stand inside a string, where a quotation mark is written `\\"`. So what is cut out of valid JSON
    here is valid, and is put in where it was: the same bytes are read as the same policy by either way.
    """
    start = data.find(_GRANTS) + len(_GRANTS)
    end = data.find(_NEXT, start)
    if start < len(_GRANTS) or end <= start or not data.startswith(_FIRST, start):
        return None
    try:
        rest = _load_whole(data[:start] + data[end:])
        grants = _read.grants(data[start:end])
    except BadPolicy:
        return None  # read as a whole, it says where
    if len({grant.number for grant in grants}) != len(grants):
        return None
    return dataclasses.replace(rest, grants=grants)


class _Read:
    """The grants that were loaded last, and their bytes: what begins or ends alike is not read again. Readers keep what
    they hold: it is replaced whole."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: tuple[bytes, tuple[Grant, ...]] = b"", ()

    def grants(self, section: bytes) -> tuple[Grant, ...]:
        """The grants written in `section`, one after the other. Raises `BadPolicy`."""
        known, before = self._known
        if section != known:
            head, same = 0, _alike(section, known)
            if (mark := section.rfind(_BETWEEN, 0, same)) != -1:
                head = mark + 2  # a grant begins here in both
            first = before[: section.count(_BETWEEN, 0, same)]
            rest, others = section[head:], known[head:]
            same = _alike(rest[::-1], others[::-1])
            tail = rest.find(_BETWEEN, len(rest) - same)  # one ends here in both
            last = before[len(before) - rest.count(_BETWEEN, tail) :] if tail != -1 else ()
            middle = map(_grant_of, _pieces(rest if tail == -1 else rest[: tail + 1]))
            before = (*first, *middle, *last)
            self._known = section, before
        return before


_read = _Read()


def _alike(one: bytes, other: bytes) -> int:
    """Return how many bytes two texts have in common at their beginning."""
    same, end = 0, min(len(one), len(other))
    while same < end:
        middle = (same + end + 1) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            end = middle - 1
    return same


def _pieces(data: bytes) -> list[bytes]:
    first, *more = data.split(_BETWEEN)
    pieces = [first, *[_FIRST + piece for piece in more]]
    return [*[piece + b"}" for piece in pieces[:-1]], pieces[-1]]


def _grant_of(data: bytes) -> Grant:
    grant: Grant = _reader(Grant)(_json(data), "grant")
    _check_grant(grant)
    return grant


def _json(data: bytes) -> Any:
    try:
        return json.loads(data.decode(), object_pairs_hook=_object, parse_float=_no_float, parse_constant=_no_float)
    except BadPolicy:
        raise
    except (ValueError, RecursionError) as error:
        raise BadPolicy(f"this is not JSON: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise BadPolicy(f"the key {shown(twice)} stands twice in one object")
    return found


def _no_float(text: str) -> Any:
    raise BadPolicy(f"{text[:40]}: numbers are whole")


_Reader = Callable[[Any, str], Any]


@cache
def _reader(wanted: Any) -> _Reader:
    """Return the function that reads one plain JSON value as the annotated type `wanted`."""
    origin = typing.get_origin(wanted)
    if origin is types.UnionType or origin is typing.Union:
        (inner,) = [arg for arg in typing.get_args(wanted) if arg is not type(None)]
        read = _reader(inner)
        return lambda value, path: None if value is None else read(value, path)
    if origin in (tuple, Sequence):
        return _tuple_reader(_reader(typing.get_args(wanted)[0]))
    if dataclasses.is_dataclass(wanted):
        return _object_reader(typing.cast(type, wanted))
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        return _enum_reader(wanted)
    return _scalar_reader(wanted)


def _tuple_reader(read: _Reader) -> _Reader:
    def reader(value: Any, path: str) -> Any:
        if type(value) is not list:
            raise BadPolicy(f"{path}: a list belongs here")
        return tuple([read(item, f"{path}[{at}]") for at, item in enumerate(value)])

    return reader


def _object_reader(cls: type) -> _Reader:
    hints = typing.get_type_hints(cls)
    readers = [(name, _reader(hints[name])) for name in _fields(cls)]
    known = frozenset(hints)
    # What a later release added has a default: a node's last good policy is read by the release that follows.
    defaults = {one.name: one.default for one in dataclasses.fields(cls) if one.default is not dataclasses.MISSING}
    needed = known - defaults.keys()
    defaults_as_plain = {name: _plain(value) for name, value in defaults.items()}

    def reader(value: Any, path: str) -> Any:
        if type(value) is not dict:
            raise BadPolicy(f"{path}: an object belongs here")
        if value.keys() != known:
            if odd := sorted((value.keys() - known) | (needed - value.keys())):
                raise BadPolicy(f"{path}: unknown or missing field {shown(odd[0])}")
            value = defaults_as_plain | value
        return cls(*[read(value[name], f"{path}.{name}") for name, read in readers])

    return reader


def _enum_reader(cls: type[StrEnum]) -> _Reader:
    def reader(value: Any, path: str) -> Any:
        try:
            return cls(value)
        except ValueError:
            raise BadPolicy(f"{path}: {shown(value)} is not one of {', '.join(cls)}") from None

    return reader


def _scalar_reader(cls: type) -> _Reader:
    def reader(value: Any, path: str) -> Any:
        if type(value) is not cls:
            raise BadPolicy(f"{path}: {cls.__name__} belongs here")
        if isinstance(value, int) and not 0 <= value <= MAX_INT:
            raise BadPolicy(f"{path}: {shown(value)} is out of bounds")
        if isinstance(value, str) and (len(value) > MAX_TEXT or _UNPRINTABLE.search(value)):
            raise BadPolicy(f"{path}: {shown(value)} is too long, or holds what cannot be printed")
        return value

    return reader


def _check(policy: Policy) -> None:
    """What the types cannot say: canonical names, known references, unique ids, readable networks, sane windows."""
    if len(policy.base) != 64 or not set(policy.base) <= set("0123456789abcdef"):
        raise BadPolicy("policy.base: a SHA-256 in lower-case hex belongs here")
    _moment(policy.created_at, "policy.created_at")
    try:
        ZoneInfo(policy.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadPolicy(f"policy.zone: {shown(policy.zone)} is not a time zone") from None
    _unique("categories", (category.id for category in policy.categories))
    _unique("groups", (group.id for group in policy.groups))
    for kind in ("grants", "corrections", "brakes", "blocks", "modes"):
        _unique(kind, (item.number for item in getattr(policy, kind)))
    known = {category.id for category in policy.categories}
    for group in policy.groups:
        where = f"policy.groups {group.id!r}"
        if group.id == UNASSIGNED or group.site == EVERY_SITE:
            raise BadPolicy(f"{where}: this word is reserved")
        if unknown := set(group.blocks) - known:
            raise BadPolicy(f"{where}: no category {shown(sorted(unknown)[0])}")
        _moment(group.observe_until or 0, where)
        _unique(f"{where} services", (switch.service for switch in group.services))
        for network in group.networks:
            _network(network, where)
        for digest in group.profiles:
            if not _DIGEST.fullmatch(digest):
                raise BadPolicy(f"{where}: a device profile is a SHA-256 in hex, not {shown(digest)}")
        for address in group.asked:
            _address(address, where)
    matched: tuple[Correction | CustomBlock | Entry, ...] = (*policy.corrections, *policy.blocks, *policy.protected)
    for item in matched:
        _name(item.name, "policy")
        if item.match is Match.VIA:
            raise BadPolicy(f"policy: `via` at {item.name!r}: only a grant's entry can be that")
    for correction in policy.corrections:
        if "*" in correction.lists and len(correction.lists) != 1:
            raise BadPolicy(f"policy.corrections {correction.number}: `*` stands alone")
    for block in policy.blocks:
        _sites(block.sites, f"policy.blocks {block.number}")
    for mode in policy.modes:
        where = f"policy.modes {mode.number}"
        _sites(mode.sites, where)
        _window(Window(mode.starts_at, mode.ends_at), where)
    for brake in policy.brakes:
        _name(brake.name, f"policy.brakes {brake.number}")
    for name in policy.own:
        _name(name, "policy.own")
    for name in policy.answering.private:
        _name(name, "policy.answering.private")
    for address in policy.answering.page:
        _address(address, "policy.answering.page")


def _check_grant(grant: Grant) -> None:
    where = f"policy.grants {grant.number}"
    _window(grant.window, where)
    for entry in grant.entries:
        _name(entry.name, where)
    _sites(grant.sites, where)


def _unique(where: str, ids: Iterable[object]) -> None:
    seen = set()
    for one in ids:
        if one in seen:
            raise BadPolicy(f"policy.{where}: {shown(one)} stands twice")
        seen.add(one)


def _name(name: str, where: str) -> None:
    if not names.is_canonical(name):
        raise BadPolicy(f"{where}: {name[:80]!r} is not a canonical name")


def _sites(sites: tuple[str, ...], where: str) -> None:
    if EVERY_SITE in sites and len(sites) != 1:
        raise BadPolicy(f"{where}: `*` stands alone")


def _moment(seconds: int, where: str) -> None:
    if seconds > MAX_TIME:
        raise BadPolicy(f"{where}: {seconds} lies beyond the year 3000; these are seconds since 1970")


def _window(window: Window, where: str) -> None:
    _moment(window.starts_at, where)
    _moment(window.ends_at or 0, where)
    if window.ends_at is not None and window.ends_at <= window.starts_at:
        raise BadPolicy(f"{where}: the window ends before it starts")
    for hours in window.hours:
        if not hours.days or not all(day <= 6 for day in hours.days) or not hours.start < hours.end <= 24 * 60:
            raise BadPolicy(f"{where}: days are 0 to 6, and hours run from an earlier to a later minute of one day")


def _network(text: str, where: str) -> None:
    try:
        clients.parse_network(text)
    except ValueError as error:
        raise BadPolicy(f"{where}: {error}") from None


def _address(text: str, where: str) -> None:
    try:
        clients.parse_address(text)
    except ValueError as error:
        raise BadPolicy(f"{where}: {error}") from None
