"""WCAG 2.1 AA by axe-core over every page, light and dark, as each role has it; and nothing cut off at 320 px."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from portal.app import prepare
from portal.database import transaction
from portal.models.lists import BaseBuild, BuildState
from tests.flows.browser import ADMINISTRATOR, REVIEWER, TEACHER, Person
from tests.flows.conftest import OpenPage
from tests.portal.gatehouse import config_in, free_port, serving

pytestmark = pytest.mark.browser

RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
PAGES = {
    TEACHER: ("/requests", "/requests/new", "/requests/1", "/grants", "/explain?name=tiktok.com&client=127.0.0.2"),
    REVIEWER: ("/desk", "/desk/1", "/desk?show=all"),
    ADMINISTRATOR: (
        "/set-up",
        "/set-up/sites",
        "/district",
        "/district/groups/edison/students",
        "/lists",
        "/lists/updates/1",
        "/services",
        "/services/instagram",
        "/lists?name=instagram.com",
        "/brakes",
        "/changes",
        "/exceptions",
        "/corrections",
        "/blocks",
        "/modes",
        "/nodes",
        "/traffic",
        "/signals",
        "/people",
        "/people/new",
        "/people/import",
        "/people/1",
        "/tokens",
        "/account",
        "/audit",
        "/about",
        "/nowhere",
    ),
}


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
        yield served.url
    engine.dispose()


def held_update() -> BaseBuild:
    """One that trips every guard, with as many lists and names as a page has to carry."""
    sentences = {
        "loss": "social-media loses 30 of its 40 entries (75 %)",
        "protected": "login.microsoftonline.com comes into adult (list games): sign-in",
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


def found_on(page: Page) -> list[str]:
    """What axe objects to: the rule, and the first places."""
    violations = Axe().run(page, options=RULES).response["violations"]
    return [f"{one['id']}: {[node['target'] for node in one['nodes'][:3]]}" for one in violations]


def test_axe_does_object_to_what_is_wrong(open_page: OpenPage) -> None:
    page = open_page()
    page.set_content("<!doctype html><html lang=en><title>x</title><main><img src='data:,'></main></html>")
    assert [one.partition(":")[0] for one in found_on(page)] == ["image-alt"]


@pytest.mark.parametrize("dark", [False, True])
def test_no_page_has_what_axe_objects_to(url: str, open_page: OpenPage, dark: bool) -> None:
    wrong = {}
    page = open_page(dark=dark)
    page.goto(f"{url}/sign-in")
    wrong["/sign-in"] = found_on(page)
    for path in ("/why", "/why?name=www.instagram.com&group=edison/students"):
        page.goto(f"{url}{path}")
        wrong[path] = found_on(page)
    for name, paths in PAGES.items():
        person = Person(open_page(dark=dark), url)
        person.sign_in(name)
        if name is TEACHER and not dark:
            assert person.write_request(["TikTok"], "Students compare how three news sites tell one story.") == 1
        for path in paths:
            person.go(path)
            wrong[path] = found_on(person.page)
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
    amir.page.get_by_label("The file").fill("site,audience,networks\ntesla,staff,10.20.0.0/16")
    amir.page.get_by_role("button", name="Dry run").click()
    assert amir.page.locator("#report").is_visible()
    assert found_on(amir.page) == []


def test_nothing_is_cut_off_at_320_pixels(url: str, open_page: OpenPage) -> None:
    amir = Person(open_page(width=320), url)
    amir.sign_in(ADMINISTRATOR)
    wide = {}
    for path in PAGES[ADMINISTRATOR]:
        amir.go(path)
        wide[path] = amir.page.evaluate("document.documentElement.scrollWidth")
    assert {path: width for path, width in wide.items() if width > 320} == {}
