"""The first day: from `schoolgate up` on an empty folder to an enforcing district of eighty sites, by a person at a
browser who follows the check-list, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.flows.browser import Person
from tests.flows.conftest import OpenPage
from tests.flows.district import STAFF, STUDENTS, District, command, district, free_port
from tests.flows.upstream import world

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery staple"
LEVELS = ("elementary", "middle", "high")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[District]:
    """An empty folder, `schoolgate up`, and no sample of anything."""
    port = free_port()
    with world(port), district(tmp_path_factory.mktemp("first"), port, 1, demo=False) as found:
        yield found


def sites(folder: Path) -> Path:
    """Eighty sites with three audiences each; two of the networks are on this machine."""
    lines = ["site,name,level,audience,networks"]
    for at in range(80):
        for third, audience in enumerate(("students", "staff", "guests")):
            here = {"students": f" {STUDENTS}", "staff": f" {STAFF}"}.get(audience, "") if at == 0 else ""
            networks = f"10.{at}.{third * 64}.0/18 2001:db8:{at:x}:{third}::/64{here}"
            lines.append(f"school-{at:02},School {at:02},{LEVELS[at % 3]},{audience},{networks}")
    file = folder / "sites.csv"
    file.write_text("\n".join(lines))
    return file


def test_the_check_list_leads_from_an_empty_folder_to_an_enforcing_district(
    empty: District, open_page: OpenPage, tmp_path: Path
) -> None:
    irma = Person(open_page(), empty.url)
    page, follow = irma.page, irma.page.get_by_role("link", name="Next:")
    irma.go("/")
    expect(page.get_by_text("This portal is new and has no account.")).to_be_visible()
    (tmp_path / "password").write_text(PASSWORD)
    words = page.locator("code").first.inner_text().replace('"', "").split()
    assert words[:3] == ["schoolgate", "user", "create"] and words[-2:] == ["--role", "administrator"]
    told = ("irma@district.example", "--name", "Irma Vega", "--role", "administrator")
    command("user", "create", *told, "--data", str(empty.data), "--password-file", str(tmp_path / "password"))

    page.get_by_label("E-mail address").fill("irma@district.example")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{empty.url}/set-up")
    expect(follow).to_have_text("Next: Name, time zone, service desk, terms")
    follow.click()
    page.get_by_role("textbox", name="Name (required)").fill("Riverbend ISD")
    page.get_by_label("Service desk").fill("desk@riverbend.example")
    page.get_by_label("Term 1").fill("Spring")
    page.get_by_label("First day").first.fill("2099-01-05")
    page.get_by_label("Last day").first.fill("2099-05-22")
    page.get_by_role("button", name="Save").click()

    expect(follow).to_have_text("Next: May staff networks reach social media for incidental use?")
    follow.click()
    page.locator("#staff").get_by_role("button", name="No", exact=True).click()
    expect(page.get_by_text("On record: no, Irma Vega")).to_be_visible()

    expect(follow).to_have_text("Next: Sites and their networks")
    follow.click()
    page.get_by_label("Choose the file").set_input_files(sites(tmp_path))
    page.get_by_role("button", name="Show what it would change").click()
    expect(page.get_by_text("A dry run over 80 sites and 240 groups")).to_be_visible()
    page.get_by_role("button", name="Import 80 sites").click()
    expect(page.get_by_text("240 groups log what would be blocked")).to_be_visible()

    expect(follow).to_have_text("Next: Somebody who decides requests")
    follow.click()
    page.get_by_role("textbox", name="Name (required)").fill("Rosa Diaz")
    page.get_by_label("E-mail address").fill("rosa@riverbend.example")
    expect(page.get_by_role("checkbox", name="Reviewer")).to_be_checked()
    page.get_by_label("First password").fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()
    expect(page.get_by_role("heading", name="Rosa Diaz")).to_be_visible()

    irma.go("/")
    expect(follow).to_have_text("Next: Every group enforced")
    arrived(irma)
    assert empty.is_open("www.instagram.com", STUDENTS), "a group that is observed is not blocked"
    irma.go("/set-up")
    follow.click()
    page.get_by_role("button", name="Enforce every observed group").click()
    arrived(irma)
    expect(page.get_by_text("Everything is done: the district is enforced.")).to_be_visible()
    for client in (STUDENTS, STAFF):
        assert not empty.is_open("www.instagram.com", client)
        assert empty.is_open("example.com", client)
    irma.go("/")
    expect(page.get_by_role("heading", name="Sites and groups")).to_be_visible()


def arrived(person: Person) -> None:
    """Reload the check-list until the newest policy is in force on the one resolver."""
    point = person.page.get_by_role("listitem").filter(has_text="In force on every resolver")
    for _ in range(200):
        person.go("/set-up")
        if "Done" in point.inner_text():
            return
        person.page.wait_for_timeout(200)
    raise AssertionError(point.inner_text())
