"""A blocked site in a real browser: the resolver's answer (style `page`) is an address of ours, and what answers there
sends the browser on to the page that says why, for the group that asks, with a code for the request form."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import dns.edns
import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.accounts import ADMINISTRATOR
from tests.flows.conftest import ARGUMENTS
from tests.flows.district import District, district, free_port, until
from tests.flows.upstream import world

PAGE = "127.0.0.1"  # asked from this address too: Edison's students
NAME = "www.tiktok.com"


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[District, int]]:
    outside, port = free_port(), free_port()
    with pytest.MonkeyPatch.context() as patch, world(outside):
        patch.setenv("SCHOOLGATE_RESOLVER__BLOCK_PAGE", f"{PAGE}:{port}")
        with district(tmp_path_factory.mktemp("page"), outside, workers=1) as made:
            yield made, port


def test_a_browser_that_opens_a_blocked_site_lands_on_the_page_that_says_why(
    school: tuple[District, int], chromium: Browser
) -> None:
    made, port = school
    with made.client(ADMINISTRATOR, "administrator") as amir:
        assert amir.patch("/answers", json={"block_page": [PAGE]}).status_code == 200
        assert amir.patch("/categories/social-media", json={"style": "page"}).status_code == 200
    until(lambda: bool(made.ask(NAME).answer), what="the style")
    (answer,) = made.ask(NAME).answer
    assert (str(answer[0]), answer.ttl) == (PAGE, 10)
    assert made.ask(NAME, kind="HTTPS").answer == []  # or the browser would go by its own hints
    (ede,) = [option for option in made.ask(NAME).options if isinstance(option, dns.edns.EDEOption)]
    assert ede.text is not None and httpx.get(ede.text.rpartition(" ")[2]).status_code == 200  # the same page
    # Names are looked up as the resolver just answered; a browser would add port 80, where a school's page listens.
    rules = f"--host-resolver-rules=MAP {NAME} {answer[0]}"
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    browser = chromium.browser_type.launch(executable_path=path, args=[*ARGUMENTS, rules])
    try:
        page = browser.new_page()
        page.goto(f"http://{NAME}:{port}/@riverbend?lang=en")
        expect(page.get_by_role("heading", name="Why was this blocked?")).to_be_visible()
        assert page.url.startswith(f"{made.url}/why?")
        expect(page.get_by_text(f"{NAME} is blocked for students at Edison High School")).to_be_visible()
        expect(page.locator("#code")).to_have_text(re.compile(r"^\w{3} \w{3}$"))
        expect(page.get_by_role("link", name="Request access")).to_have_attribute("href", re.compile("code="))
    finally:
        browser.close()
