"""WCAG 2.1 AA by axe-core over every page of the route table, light and dark; and nothing cut off at 320 px."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page
from sqlmodel import select

from portal.app import prepare
from portal.database import transaction
from portal.models.lists import BaseBuild, BuildState
from portal.models.people import User
from portal.models.words import Role
from portal.places import district
from tests.flows.browser import ADMINISTRATOR, TEACHER, Person
from tests.flows.conftest import OpenPage
from tests.portal.gatehouse import config_in, free_port, serving
from tests.portal.test_routes import PAGES, furnished

pytestmark = pytest.mark.browser

RULES: dict[str, object] = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
CONTRAST: dict[str, object] = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
PARTS = 4
FILLED = {"{service}": "instagram", "{year}": "2026-27", "{key:path}": "edison/students", "{number}": "1"}
QUERIES = {
    "/explain": ("?name=tiktok.com&client=127.0.0.2",),
    "/desk": ("", "?show=all"),
    "/district": ("", "?find=nothing-like-this"),
    "/district/groups/new": ("?site=service-center&audience=students",),
    "/grants": ("", "?status=revoked"),
    "/lists": ("", "?name=instagram.com"),
    "/people": ("", "?q=nobody-like-this"),
    "/set-up/sites": ("", "?client=127.0.0.2"),
    "/signals": ("", "?days=30"),
    "/why": ("", "?name=www.instagram.com&group=edison/students"),
}
# Files, streams and programs' own; and what shows itself only in the middle of something that other tests go through.
NO_PAGE = re.compile(
    r"/api/|/healthz|/metrics|/readyz|.*/events$|.*\.(csv|css|png)$|/$|/requests/check$|/sign-in/(code|oidc).*"
)


def pages() -> list[str]:
    """Every page of the route table, with its parts filled; a new one is looked at without being named here."""
    found = ["/nowhere"]
    for row in PAGES:
        method, _, path = row.partition(" ")
        if method == "GET" and not NO_PAGE.match(path):
            filled = re.sub(r"{[^}]+}", lambda part: FILLED[part[0]], path)
            found += [filled + query for query in QUERIES.get(path, ("",))]
    return found


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A demo portal with no resolver: its first policy is published, nothing is acknowledged, an update is held."""
    config = replace(config_in(tmp_path_factory.mktemp("axe"), free_port()), demo=True)
    engine = prepare(config)
    with transaction(engine) as session:
        session.add(held_update())
    with serving(config, engine) as served:
        while httpx.get(f"{served.url}/readyz").status_code != 200:
            time.sleep(0.02)
        with transaction(engine) as session:
            furnished(session, served)
            amir = session.exec(select(User).where(User.name == ADMINISTRATOR)).one()
            amir.roles = [str(role) for role in (Role.ADMINISTRATOR, Role.REVIEWER, Role.AUDITOR, Role.DESIGNEE)]
            session.add(amir)
            district.get(session).held_at = int(time.time())  # the state in which every page says so
        yield served.url
    engine.dispose()


def held_update() -> BaseBuild:
    """One that trips every guard, with as many lists and names as a page has to carry."""
    sentences = {
        "loss": "social-media loses 30 of its 40 entries (75 %)",
        "protected": "login.microsoftonline.com comes into adult (list games): sign-in",
        "platform": "notes.example.org comes into adult (list games): register 2026-27: Notes home, grant 7",
        "grant": "www.instagram.com comes into adult (list games): grant 12",
        "recent": f"{'a-very-long-label-' * 3}cdn.example.net comes into adult (list games): 4.2 % of a resolver's "
        "devices asked for it on 2026-11-23",
    }
    examples = [f"{'long-' * 9}name{number}.example.org" for number in range(20)]
    change = {"before": 40_000, "after": 30_001, "added": 20, "dropped": 10_019}
    changes = [
        change | {"id": id, "added_examples": examples, "dropped_examples": examples[:3]} for id in ("a", "games")
    ]
    withdrawn: dict[str, object] = {"id": "old-list", "before": 812, "after": 0, "withdrawn": True}
    return BaseBuild(
        state=BuildState.HELD,
        because=["lists.source.switch"],
        started_at=1_795_500_000,
        made_at=1_795_500_060,
        digest="0" * 64,
        previous="1" * 64,
        names=1_234_567,
        size=9_876_543,
        changes=[*changes, withdrawn],
        reasons=[{"guard": guard, "subject": guard, "sentence": text} for guard, text in sentences.items()],
    )


def found_on(page: Page, rules: dict[str, object] = RULES) -> list[str]:
    """What axe objects to: the rule, and the first places."""
    violations = Axe().run(page, options=rules).response["violations"]
    return [f"{one['id']}: {[node['target'] for node in one['nodes'][:3]]}" for one in violations]


def test_axe_does_object_to_what_is_wrong(open_page: OpenPage) -> None:
    page = open_page()
    page.set_content("<!doctype html><html lang=en><title>x</title><main><img src='data:,'></main></html>")
    assert [one.partition(":")[0] for one in found_on(page)] == ["image-alt"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_page_of_the_route_table_has_what_axe_objects_to(url: str, open_page: OpenPage, part: int) -> None:
    nobody, amir = open_page(), Person(open_page(), url)
    amir.sign_in(ADMINISTRATOR)
    wrong = {}
    for path in pages()[part::PARTS]:
        page = nobody if path.startswith(("/sign-in", "/why")) else amir.page
        page.goto(f"{url}{path}")
        if path != "/nowhere":
            assert page.locator("h1").first.inner_text() not in ("Not found", "Not allowed"), path
        wrong[path] = found_on(page)
        page.emulate_media(color_scheme="dark")  # what differs there is colours
        wrong[f"{path} in the dark"] = found_on(page, CONTRAST)
        page.emulate_media(color_scheme="light")
    assert {path: found for path, found in wrong.items() if found} == {}


def test_no_page_of_a_teacher_has_what_axe_objects_to(url: str, open_page: OpenPage) -> None:
    tess = Person(open_page(), url)
    tess.sign_in(TEACHER)
    wrong = {}
    for path in ("/requests", "/requests/new", "/grants", "/account"):
        tess.go(path)
        wrong[path] = found_on(tess.page)
    assert {path: found for path, found in wrong.items() if found} == {}


def test_forms_with_mistakes_and_a_report_are_accessible_too(url: str, open_page: OpenPage) -> None:
    amir = Person(open_page(), url)
    amir.sign_in(ADMINISTRATOR)
    amir.go("/set-up")
    amir.page.get_by_label("Time zone").fill("Mars")
    amir.page.get_by_role("button", name="Save").click()
    assert any("time zone" in line for line in amir.mistakes())
    assert found_on(amir.page) == []
    amir.go("/set-up/sites")
    amir.page.get_by_label("Or paste it").fill("site,audience,networks\ntesla,staff,10.20.0.0/16")
    amir.page.get_by_role("button", name="Show what it would change").click()
    assert amir.page.locator("#report").is_visible()
    assert found_on(amir.page) == []


CUT = "one => one.scrollWidth > one.clientWidth + 1"  # the card hides what does not fit into it


def test_nothing_is_cut_off_at_320_pixels_nor_beside_the_menu(url: str, open_page: OpenPage) -> None:
    """Neither by the window nor by the card around a table."""
    amir = Person(open_page(width=320), url)
    amir.sign_in(ADMINISTRATOR)
    cut = []
    for path in pages():
        amir.go(path)
        for width in (320, 1000):
            amir.page.set_viewport_size({"width": width, "height": 800})
            page, cards = amir.page.evaluate(
                f"[document.documentElement.scrollWidth, [...document.querySelectorAll('.card')].filter({CUT}).length]"
            )
            if page > width or cards:
                cut.append((path, width, page, cards))
    assert cut == []
