"""The register of platforms in a browser without scripts: the designee's pages, and what the public reads."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable

import httpx
from sqlmodel import select

from portal.database import transaction
from portal.models.people import User
from portal.models.words import Role
from portal.places import years
from tests.portal.gatehouse import Served
from tests.portal.pages.conftest import PEOPLE, SignIn
from tests.portal.pages.gate import Browser

ENTRY = {
    "name": "Square <Rooms>",
    "purpose": "Notes home",
    "leaders": "The office reads along",
    "parents": "not-feasible",
    "names": "square.example\ntiktok.com\n",
    "services": "",
    "action": "save",
}


def designee(portal: Served, sign_in: SignIn) -> tuple[Browser, str]:
    """Tess, made the designee, and the present school year."""
    with transaction(portal.wired.engine) as session:
        user = session.exec(select(User).where(User.email == PEOPLE["tess"])).one()
        user.roles = [*user.roles, str(Role.DESIGNEE)]
        session.add(user)
        year = years.current(session, portal.wired.clock()).label
    return sign_in("tess"), year


def test_the_designee_enters_mends_publishes_and_retires_and_everybody_reads(
    portal: Served, sign_in: SignIn, visitor: Callable[[], Browser]
) -> None:
    browser, year = designee(portal, sign_in)
    browser.open(f"/platforms/{year}/new")
    browser.send(browser.path(), ENTRY)
    assert browser.page is not None and browser.page.status_code == 422
    assert "Say why parents cannot be included" in browser.text and "square.example" in browser.text
    browser.send(browser.path(), {"services": "", "parents_why": "A loudspeaker has no inbox"})
    assert "Square <Rooms>" in browser.text and "Draft" in browser.text

    public = visitor()
    public.open("/platforms")
    assert public.path() == f"/platforms/{year}" and "Square" not in public.text
    assert "A tool opened for a lesson is not a platform" in public.text

    entry = browser.path()
    browser.send(browser.path(), {"action": "publish"})
    public.open("/platforms")
    for said in ("Square <Rooms>", "Not included", "A loudspeaker has no inbox", "The office reads along", "Published"):
        assert said in public.text
    assert "grant №" not in public.text and "The register and its drafts" not in public.text
    (row,) = csv.DictReader(io.StringIO(public.open(f"/platforms/{year}.csv").text))
    assert (row["platform"], row["parents"], row["names"]) == (
        "Square <Rooms>",
        "not-feasible",
        "square.example tiktok.com",
    )
    told = httpx.get(f"{portal.url}/api/v1/platforms/{year}", timeout=30).json()
    assert [(one["name"], one["names"], one["state"]) for one in told["platforms"]] == [
        ("Square <Rooms>", ["square.example", "tiktok.com"], "published")
    ]

    browser.open("/grants")
    assert f"register {year}: Square <Rooms>" in browser.text
    browser.open("/about")
    end = time.monotonic() + 60
    while "Authority" not in browser.text and time.monotonic() < end:  # the policy that holds it is on its way
        time.sleep(0.05)
        browser.open("/explain?name=tiktok.com&group=edison/students")
    assert f"register {year}: Square <Rooms>" in browser.text
    browser.open(f"/platforms/{year}/register")
    day = told["published_on"]
    handed = {"day": day, "recipients": "all employees", "how": "by e-mail", "action": "distribute"}
    browser.send(browser.path(), handed)
    public.open("/platforms")
    assert "to all employees, by e-mail" in public.text

    browser.open(entry)
    stale = dict(browser.form(entry))
    browser.send(browser.path(), {"action": "save", "services": "", "purpose": "Notes home, and grades"})
    answer = browser.client.post(entry, data=stale | {"action": ["retire"], "reason": ["late"]})
    assert answer.status_code == 409 and "in the meantime" in answer.text
    browser.open(entry)
    browser.send(browser.path(), {"action": "retire", "reason": "The vendor sells data"})
    public.open("/platforms")
    assert "Not approved any more" in public.text and "sells data" not in public.text


def test_what_is_no_school_year_is_not_found(portal: Served, visitor: Callable[[], Browser]) -> None:
    browser = visitor()
    for path in ("/platforms/2026", "/platforms/2026-29", "/platforms/x.csv", "/api/v1/platforms/2026-29"):
        assert browser.open(path).status_code == 404
    assert browser.open("/api/v1/platforms/x").status_code == 422
