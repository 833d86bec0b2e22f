"""Sites and groups from a CSV file: `site, name, level, audience, networks` (several networks: spaces or semicolons).
Commas, semicolons or tabs part the columns: what the first line has most of.

The dry run *is* the import, rolled back: what it reports is what would happen. Sites and groups that the file does not
name stay as they are; a group that it names gets the file's networks and keeps its blocks. New groups are observed
first. All in one transaction, and so in one policy version.
"""

from __future__ import annotations

import codecs
import csv
import io
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from blocklists.clients import parse_network
from blocklists.policy import Audience, Group
from portal import access
from portal.access import Actor
from portal.errors import FieldError, Invalid
from portal.fields import Mistakes
from portal.places import district, setup
from portal.places.district import GroupDraft, GroupView, SiteDraft
from portal.rules import block_rules, blocking

COLUMNS = ("site", "name", "level", "audience", "networks")
NEEDED = ("site", "audience", "networks")
MAX_ROWS = 5_000
_SEPARATORS = (",", ";", "\t")  # of spreadsheets in different countries, and of what is copied from one


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report: what of which site or group becomes what."""

    where: str
    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Report:
    """`overlaps`: networks inside another group's (the longer one wins, which is often meant). `gaps`: sites without an
    audience, and groups without a network."""

    sites: int
    groups: int
    changes: tuple[Line, ...]
    overlaps: tuple[str, ...]
    gaps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    site: str
    name: str
    level: str
    audience: str
    networks: tuple[str, ...]


def dry_run(session: Session, actor: Actor, now: float, text: str) -> Report:
    """Return what the import would do, in a writing session; nothing stays. Raises `Invalid`, its fields `line N`."""
    nested = session.begin_nested()
    try:
        return run(session, actor, now, text)
    finally:
        nested.rollback()
        session.expire_all()


def run(session: Session, actor: Actor, now: float, text: str) -> Report:
    """Import the file, whole or not at all."""
    access.require(access.may_administer(actor), "Only an administrator imports sites.")
    rows = _read(text)
    mistakes = Mistakes()
    changes = [*_sites(session, actor, now, rows, mistakes)]
    mistakes.stop("Nothing was imported: some lines need mending.")
    known = {view.group.id: view for view in district.groups(session)}
    local = tuple(one.id for one in blocking.categories(session) if not one.locked)
    for row in rows:
        try:
            changes += _group(session, actor, now, row, known, local)
        except Invalid as error:
            for one in error.errors:
                mistakes.add(f"line {row.number}", f"{one.field}: {one.message}")
    mistakes.stop("Nothing was imported: some lines need mending.")
    groups = [view.group for view in district.groups(session)]
    named = len({row.site for row in rows})
    return Report(named, len(rows), tuple(changes), overlaps(groups), gaps(session, groups))


def decoded(content: bytes) -> str:
    """Return the text of a file as spreadsheets save it: UTF-8, UTF-16 with its mark, or else Windows-1252."""
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return content.decode("utf-16")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _read(text: str) -> list[_Row]:
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    heading_line = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=heading_line.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        heading = [(name or "").strip().lower() for name in reader.fieldnames or ()]
        if missing := [name for name in NEEDED if name not in heading]:
            raise _bad(1, f"there is no column {missing[0]!r}; the columns are {', '.join(COLUMNS)}")
        reader.fieldnames = heading
        rows: dict[tuple[str, str], _Row] = {}
        for plain in reader:
            row = _row(reader.line_num, plain)
            if not any((row.site, row.audience, row.networks)):
                continue
            other = rows.setdefault((row.site, row.audience), row)
            if other is not row:
                raise _bad(row.number, f"{row.site}/{row.audience} stands in line {other.number} already")
            if len(rows) > MAX_ROWS:
                raise _bad(row.number, f"a file has at most {MAX_ROWS} lines")
    except csv.Error as error:
        raise _bad(reader.line_num + 1, f"this is not CSV: {error}") from None
    if not rows:
        raise _bad(1, "the file names no group")
    return list(rows.values())


def _bad(line: int, what: str) -> Invalid:
    return Invalid("Nothing was imported.", (FieldError(f"line {line}", what),))


def _row(number: int, plain: Mapping[str | None, object]) -> _Row:
    def cell(name: str) -> str:
        value = plain.get(name)
        return value.strip() if isinstance(value, str) else ""

    networks = tuple(one for one in re.split(r"[\s;,]+", cell("networks")) if one)
    site, audience = cell("site").lower(), cell("audience").lower()
    return _Row(number, site, cell("name"), cell("level").lower(), audience, networks)


def _written(network: str) -> str:
    """As a group keeps it; what is no network stays, to be refused with the group."""
    try:
        return str(parse_network(network))
    except ValueError:
        return network


def _sites(session: Session, actor: Actor, now: float, rows: Sequence[_Row], mistakes: Mistakes) -> list[Line]:
    known = {site.id: (site.name, site.level) for site in district.sites(session)}
    found: list[Line] = []
    for row in rows:
        old = known.get(row.site)
        name, level = row.name or (old[0] if old else row.site), row.level or (old[1] if old else "")
        if old == (name, level):
            continue
        draft = SiteDraft(row.site, name, level)
        try:
            if old is None:
                district.create_site(session, actor, now, draft)
            else:
                district.update_site(session, actor, now, row.site, draft)
        except Invalid as error:
            for one in error.errors:
                mistakes.add(f"line {row.number}", f"{one.field}: {one.message}")
            continue
        session.flush()
        known[row.site] = (name, level)
        before = " · ".join(part for part in old or () if part) or "does not exist"
        found.append(Line(row.site, "site", before, " · ".join(part for part in (name, level) if part)))
    return found


def _group(
    session: Session, actor: Actor, now: float, row: _Row, known: dict[str, GroupView], local: tuple[str, ...]
) -> list[Line]:
    key = f"{row.site}/{row.audience}"
    view = known.get(key)
    if view is None:
        audience = Audience(row.audience) if row.audience in list(Audience) else Audience.STUDENTS
        blocks: tuple[str, ...] = ()
        switches: dict[str, str] = {}
        if audience is not Audience.GUESTS:  # they take the students', whose group may stand further down the file
            usual = setup.usual_blocks(session, audience, local)
            blocks, switches = block_rules.for_new_group(session, key, district.site(session, row.site).level, usual)
        draft = GroupDraft(row.site, row.audience, row.networks, (), blocks, switches)
        new = district.add_group(session, actor, now, draft, known.values())
        known[key] = GroupView(new, "", 1)
        return [Line(key, "group", "does not exist", f"observed, {', '.join(row.networks) or 'no network'}")]
    group = view.group
    if set(group.networks) == {_written(one) for one in row.networks}:
        return []
    own = () if view.follows else group.blocks
    switches = {} if view.follows else {one.service: str(one.switch) for one in group.services}
    draft = GroupDraft(row.site, row.audience, row.networks, group.asked, own, switches)
    known[key] = district.update_group(session, actor, now, key, view.revision, draft)
    return [Line(key, "networks", ", ".join(group.networks) or "none", ", ".join(row.networks) or "none")]


def overlaps(groups: Sequence[Group]) -> tuple[str, ...]:
    """Return, in words, every network that lies inside another group's: nearest enclosing first found by length."""
    by_key: dict[tuple[int, int, int], tuple[str, str]] = {}
    networks: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]] = []
    for group in groups:
        for text in group.networks:
            network = parse_network(text)
            networks.append((network, group.id))
            by_key[network.version, network.prefixlen, int(network.network_address)] = (text, group.id)
    lengths = {(version, length) for version, length, _ in by_key}
    found = []
    for network, owner in networks:
        bits = network.max_prefixlen
        for length in sorted((one for version, one in lengths if version == network.version), reverse=True):
            if length >= network.prefixlen:
                continue
            start = int(network.network_address) >> (bits - length) << (bits - length)
            outer = by_key.get((network.version, length, start))
            if outer is not None and outer[1] != owner:
                found.append(f"{network} ({owner}) lies inside {outer[0]} ({outer[1]}); the smaller one wins")
                break
    return tuple(found)


def gaps(session: Session, groups: Sequence[Group]) -> tuple[str, ...]:
    """Return, in words, what a real district would ask about."""
    held: dict[str, set[Audience]] = {}
    for group in groups:
        held.setdefault(group.site, set()).add(group.audience)
    found = [
        f"{group.id} has no network and no address of ours" for group in groups if not group.networks + group.asked
    ]
    for site in district.sites(session):
        if site.id not in held:
            found.append(f"{site.id} has no group: its devices get the strictest policy")
        elif Audience.STAFF not in held[site.id]:
            found.append(f"{site.id} has no staff group: staff there get the strictest policy")
    return tuple(found)
