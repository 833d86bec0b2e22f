"""What a new database holds: an empty real district, or the demo one with sample accounts and loopback networks."""

from __future__ import annotations

import secrets
from datetime import UTC, date, datetime

from sqlmodel import Session, col, func, select

from blocklists.policy import Audience
from blocklists.seed import load_seed
from portal.access import SYSTEM
from portal.errors import Conflict
from portal.models.district import CategoryRow, ClientGroup, District, Site
from portal.models.people import User
from portal.models.words import Role
from portal.outbox import record_change

_TERM_ENDS = ((5, 22), (12, 18))  # month and day
_STAFF_BLOCKS = ("social-media", "vpn-proxy", "encrypted-dns")  # incidental use: permitted conduct, no open network

# On one machine the address asked from stands for the network: `dig -b 127.0.0.3` is a teacher's computer.
_SITES = (
    ("edison", "Edison High School", "high"),
    ("lincoln", "Lincoln Middle School", "middle"),
    ("service-center", "Education Service Center", "office"),
    ("away", "Away: district devices off campus", "away"),
)
_GROUPS = (
    ("edison", Audience.STUDENTS, ("127.0.0.1/32", "127.0.0.2/32", "::1/128")),
    ("edison", Audience.STAFF, ("127.0.0.3/32",)),
    ("edison", Audience.GUESTS, ("127.0.0.4/32",)),
    ("lincoln", Audience.STUDENTS, ("127.0.0.12/32",)),
    ("lincoln", Audience.STAFF, ("127.0.0.13/32",)),
    ("lincoln", Audience.GUESTS, ("127.0.0.14/32",)),
    ("service-center", Audience.STAFF, ("127.0.0.23/32",)),
    ("service-center", Audience.GUESTS, ("127.0.0.24/32",)),
    ("away", Audience.STUDENTS, ("127.0.0.32/32",)),
    ("away", Audience.STAFF, ("127.0.0.33/32",)),
)
_PEOPLE = (
    ("tess.okafor@riverbend.example", "Tess Okafor", (Role.REQUESTER,), "edison"),
    ("rosa.diaz@riverbend.example", "Rosa Diaz", (Role.REQUESTER, Role.REVIEWER), "service-center"),
    ("amir.khan@riverbend.example", "Amir Khan", (Role.REQUESTER, Role.ADMINISTRATOR), "service-center"),
)


def seed(session: Session, now: float, portal_url: str) -> None:
    """Fill an empty database with "Riverbend Public Schools", its groups on loopback addresses, and three accounts
    that sign in with one click. Does nothing when it has been done; raises `Conflict` on a real district's database."""
    known = session.get(District, 1)
    real = session.exec(select(func.count()).select_from(User).where(col(User.demo).is_(False))).one()
    if real or (known is not None and not known.demo):
        raise Conflict("This database is a real district's; a demo never runs on it. Choose another data folder.")
    if known is not None:
        known.portal_url = portal_url
        return
    session.add(
        District(
            slug="riverbend-demo",
            name="Riverbend Public Schools",
            portal_url=portal_url,
            contact="mailto:service-desk@riverbend.example",
            term_ends_on=_end_of_term(now).isoformat(),
            demo=True,
            created_at=int(now),
        )
    )
    local = _categories(session)
    session.add_all(Site(id=key, name=name, level=level) for key, name, level in _SITES)
    session.flush()
    for site, audience, networks in _GROUPS:
        blocks = [one for one in local if audience is Audience.STUDENTS or one in _STAFF_BLOCKS]
        row = ClientGroup(id=f"{site}/{audience}", site_id=site, audience=audience, networks=list(networks))
        row.blocks = list(local) if audience is Audience.GUESTS and site == "service-center" else blocks
        if audience is Audience.GUESTS and site != "service-center":
            row.blocks = []  # they take the students'
        session.add(row)
    for email, name, roles, site in _PEOPLE:
        session.add(
            User(
                email=email,
                name=name,
                roles=[str(role) for role in roles],
                site_id=site,
                demo=True,
                created_at=int(now),
            )
        )
    session.flush()
    record_change(session, SYSTEM, now, "district.district.create", "district:1", {"demo": True})


def first_run(session: Session, now: float, portal_url: str) -> None:
    """Fill an empty database for a real district: its row, the seed's categories, the site of devices off campus; no
    account, and no group: every client gets the strictest policy. Does nothing but note the address later on."""
    known = session.get(District, 1)
    if known is not None:
        known.portal_url = portal_url
        return
    session.add(
        District(
            slug=f"district-{secrets.token_hex(4)}",
            name="Your district",
            portal_url=portal_url,
            term_ends_on=_end_of_term(now).isoformat(),
            created_at=int(now),
        )
    )
    _categories(session)
    session.add(Site(id="away", name="Away: district devices off campus", level="away"))
    session.flush()
    record_change(session, SYSTEM, now, "district.district.create", "district:1", {"demo": False})


def accounts(session: Session) -> tuple[User, ...]:
    """Return the demo accounts, for the sign-in page; empty on a real database."""
    wanted = select(User).where(col(User.demo).is_(True), col(User.disabled_at).is_(None))
    return tuple(session.exec(wanted.order_by(col(User.id))))


def _categories(session: Session) -> list[str]:
    """Store the seed's categories; return the ids of those that a request can open."""
    shipped = load_seed().categories
    session.add_all(
        CategoryRow(id=one.id, title=one.title, description=one.description, locked=one.locked) for one in shipped
    )
    return [one.id for one in shipped if not one.locked]


def _end_of_term(now: float) -> date:
    """The next usual end of a term, at least two weeks away."""
    today = datetime.fromtimestamp(now + 14 * 86400, UTC).date()
    ends = [date(year, month, day) for year in (today.year, today.year + 1) for month, day in _TERM_ENDS]
    return next(end for end in ends if end >= today)
