"""Employees from a OneRoster 1.1 or 1.2 CSV export: `orgs.csv`, `users.csv` and (1.2) `roles.csv`, in a zip or folder.

Staff only. Whoever has the role of a student, a parent or a guardian anywhere is left out before anything is looked up:
no name, address or id of a student is stored, logged or shown, only how many there were. People match by the roster's
`sourcedId`, else (once) by address. A new account is a requester's, without a password; the roles of an account that is
there stay. `tobedeleted`, people who are no longer enabled and people whose role as an employee has ended are disabled;
nobody who is missing is touched, because an export of one school must not disable the others.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlmodel import Session, col, select

from portal import access, audit
from portal.access import Actor
from portal.errors import FieldError, Invalid, Refused
from portal.models.district import Site
from portal.models.people import User
from portal.models.words import Role
from portal.people import accounts
from portal.people.accounts import UserDraft

FILES = ("orgs.csv", "users.csv", "roles.csv")
MAX_BYTES = 64 * 1024 * 1024  # of one file, unpacked
MAX_LINES = 20  # mistakes that are said
# OneRoster 1.2, table of roles; 1.1 has fewer of them. Everybody else is no employee.
STAFF = frozenset(
    {"administrator", "aide", "counselor", "districtadministrator", "principal", "proctor", "siteadministrator"}
    | {"sysadmin", "systemadministrator", "teacher"}
)
NEVER = frozenset({"student", "parent", "guardian", "relative"})


@dataclass(frozen=True, slots=True)
class Line:
    """One account of the report; `what` is create, change, disable or enable."""

    what: str
    name: str
    email: str
    site: str


@dataclass(frozen=True, slots=True)
class Report:
    """`left_out`: students, families and others; `unknown_orgs`: schools that no site is named like."""

    lines: tuple[Line, ...]
    staff: int
    left_out: int
    unknown_orgs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Person:
    line: int
    sourced_id: str
    name: str
    email: str
    enabled: bool
    orgs: tuple[str, ...]


def read_files(path: Path) -> dict[str, str]:
    """Return the texts of the export at `path`, a zip or a folder. Raises `Invalid`."""
    if path.is_dir():
        found = {name: path / name for name in FILES if (path / name).is_file()}
        try:
            return {name: file.read_text("utf-8-sig") for name, file in found.items()}
        except (OSError, UnicodeDecodeError) as error:
            raise Invalid(f"{path}: {error}") from None
    try:
        return unpack(path.read_bytes())
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from None


def unpack(data: bytes) -> dict[str, str]:
    """Return the texts of a zip; only the three files are looked at, wherever in it they are. Raises `Invalid`."""
    found = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            for member in packed.infolist():
                name = member.filename.rpartition("/")[2].lower()
                if name in FILES and name not in found:
                    with packed.open(member) as file:
                        text = file.read(MAX_BYTES + 1)
                    if len(text) > MAX_BYTES:
                        raise Invalid(f"{name} has more than {MAX_BYTES // 1024 // 1024} MB.")
                    found[name] = text.decode("utf-8-sig")
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise Invalid(f"This is no zip file of UTF-8 CSV files: {error}") from None
    return found


def dry_run(session: Session, actor: Actor, now: float, files: Mapping[str, str]) -> Report:
    """Return what the import would do, in a writing session; nothing stays."""
    nested = session.begin_nested()
    try:
        return run(session, actor, now, files)
    finally:
        nested.rollback()
        session.expire_all()


def run(session: Session, actor: Actor, now: float, files: Mapping[str, str]) -> Report:
    """Import the export, whole or not at all. Raises `Invalid`, its fields `users.csv line N`."""
    access.require(access.may_administer(actor), "Only an administrator imports people.")
    if "users.csv" not in files:
        raise Invalid("There is no users.csv in it; a OneRoster export has one.")
    staff, others = _staff(files, datetime.fromtimestamp(now, UTC).date().isoformat())
    sites, unknown = _sites(session, files.get("orgs.csv", ""), {org for one in staff for org in one.orgs})
    lines: list[Line] = []
    mistakes: list[FieldError] = []
    for person in staff:
        site = next((sites[org] for org in person.orgs if org in sites), None)
        try:
            lines += _import(session, actor, now, person, site)
        except Refused as error:
            said = "; ".join(one.message for one in error.errors) or error.detail
            mistakes.append(FieldError(f"users.csv line {person.line}", f"users.csv line {person.line}: {said}"))
            if len(mistakes) >= MAX_LINES:
                break
    lines += _no_longer_staff(session, actor, now, set(others))
    if mistakes:
        raise Invalid("Nothing was imported: some lines need mending.", tuple(mistakes))
    detail: audit.Detail = {"staff": len(staff), "changes": len(lines), "left_out": len(others)}
    audit.record(session, actor, int(now * 1000), "people.roster.import", "district", detail)
    return Report(tuple(lines), len(staff), len(others), unknown)


def _staff(files: Mapping[str, str], today: str) -> tuple[list[_Person], list[str]]:
    """The employees, and the ids of everybody else. One role of a student or of family is enough to be left out; a role
    that has ended by `today` (1.2: `endDate`, a date as in ISO 8601) is none."""
    roles, orgs = defaultdict(set), defaultdict(list)
    for _, row in _rows(files.get("roles.csv", ""), "roles.csv", ("userSourcedId", "role")):
        ended = row.get("endDate", "").strip()[:10]
        if row.get("status", "").strip().lower() != "tobedeleted" and not (ended and ended <= today):
            roles[row["userSourcedId"]].add(row["role"].strip().lower())
            orgs[row["userSourcedId"]].append(row.get("orgSourcedId", ""))
    staff, others = [], []
    for line, row in _rows(files["users.csv"], "users.csv", ("sourcedId", "givenName", "familyName", "email")):
        key = row["sourcedId"].strip()
        his = roles[key] | {word for word in (row.get("role", "").strip().lower(),) if word}
        if not key or his & NEVER or not his & STAFF:
            others.append(key)
            continue
        listed = [one.strip() for one in row.get("orgSourcedIds", "").split(",")]
        primary = row.get("primaryOrgSourcedId", "").strip()
        gone = row.get("status", "").strip().lower() == "tobedeleted"
        name = " ".join(f"{row['givenName']} {row['familyName']}".split())
        enabled = row.get("enabledUser", "true").strip().lower() not in ("false", "0") and not gone
        places = tuple(dict.fromkeys(one for one in (primary, *orgs[key], *listed) if one))
        staff.append(_Person(line, key, name, row["email"].strip().lower(), enabled, places))
    return staff, others


def _sites(session: Session, text: str, wanted: set[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """From an org's id to a site of the district: the same id, identifier or name."""
    known: dict[str, str] = {}
    for site in session.exec(select(Site)):
        known |= {site.id.casefold(): site.id, site.name.casefold(): site.id}
    found, unknown = {}, []
    for _, row in _rows(text, "orgs.csv", ("sourcedId", "name")) if text else ():
        names = (row["sourcedId"], row.get("identifier", ""), row["name"])
        site_id = next((known[one.strip().casefold()] for one in names if one.strip().casefold() in known), None)
        if site_id is not None:
            found[row["sourcedId"].strip()] = site_id
        elif row["sourcedId"].strip() in wanted:
            unknown.append(row["name"].strip()[:100])
    return found, tuple(sorted(set(unknown)))


def _import(session: Session, actor: Actor, now: float, person: _Person, site: str | None) -> Iterator[Line]:
    user = session.exec(select(User).where(User.sourced_id == person.sourced_id)).first()
    if user is None:
        user = session.exec(select(User).where(User.email == person.email)).first()
        if user is not None and user.sourced_id is not None:
            if not person.enabled:
                return  # somebody else has had the address since
            raise Invalid("two people of the roster have one address")
    here = (person.name, person.email, site or "")
    if user is None:
        if person.enabled:
            draft = UserDraft(person.email, person.name, (Role.REQUESTER,), site)
            user = accounts.create_user(session, actor, now, draft, "")
            user.sourced_id = person.sourced_id
            yield Line("create", *here)
        return
    assert user.id is not None
    user.sourced_id = person.sourced_id
    place = site or user.site_id
    if (user.name, user.email, user.site_id) != (person.name, person.email, place):
        accounts.update_user(
            session, actor, now, user.id, UserDraft(person.email, person.name, tuple(user.roles), place)
        )
        yield Line("change", *here)
    if not person.enabled and user.disabled_at is None:
        accounts.disable(session, actor, now, user.id)
        yield Line("disable", *here)


def _no_longer_staff(session: Session, actor: Actor, now: float, others: set[str]) -> Iterator[Line]:
    """Accounts of the roster whose person is in it still, and no employee any more."""
    for user in session.exec(select(User).where(col(User.sourced_id).is_not(None), col(User.disabled_at).is_(None))):
        if user.sourced_id in others and user.id is not None:
            accounts.disable(session, actor, now, user.id)
            yield Line("disable", user.name, user.email, user.site_id or "")


def _rows(text: str, name: str, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    if not text:
        return
    reader = csv.DictReader(io.StringIO(text), restval="", strict=True)
    try:
        missing = [one for one in needed if one not in (reader.fieldnames or ())]
        if missing:
            raise Invalid(f"{name} has no column {', '.join(missing)}; it is no OneRoster 1.1 or 1.2 file.")
        for row in reader:
            row.pop(None, None)
            yield reader.line_num, row
    except csv.Error as error:
        raise Invalid(f"{name} line {reader.line_num}: {error}") from None
