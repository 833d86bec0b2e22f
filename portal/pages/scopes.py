"""Sites to choose from, as forms of levers offer them."""

from __future__ import annotations

from sqlmodel import Session

from blocklists.policy import EVERY_SITE
from portal.pages.words import Option
from portal.places import district


def site_options(session: Session) -> list[Option]:
    """Every site at once, then each by name."""
    return [Option(EVERY_SITE, "Every site"), *(Option(one.id, one.name) for one in district.sites(session))]
