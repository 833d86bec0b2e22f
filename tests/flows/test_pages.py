"""The pages in a real browser, over the real portal and a node that answers on command: the form that says what it
knows, the gate that opens by itself, the same without scripts, narrow windows, the keyboard."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from httpx_sse import connect_sse
from playwright.sync_api import expect

from blocklists.exchange import Offer
from portal.app import prepare
from portal.config import PortalConfig
from tests.flows.browser import ADMINISTRATOR, IN_FORCE, REVIEWER, TEACHER, Person
from tests.flows.conftest import OpenPage
from tests.portal.gatehouse import FakeNode, Served, free_port, serving, token

pytestmark = pytest.mark.browser

PURPOSE = "Students compare how three museums show the same painting."


class Node:
    """A node that acknowledges what it is offered, once it may."""

    def __init__(self, served: Served, config: PortalConfig) -> None:
        self.may = threading.Event()
        secret = token(config, served.wired.engine, time.time())
        self._node = FakeNode.enrolled(served.url, secret)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with (
            self._node.client() as stream,
            self._node.client() as answers,
            connect_sse(stream, "GET", "/stream") as events,
        ):
            for event in events.iter_sse():
                if event.event != "offer":
                    continue
                offer = Offer.model_validate_json(event.data)
                self.may.wait()
                answers.post("/acks", json={"version": offer.version, "digest": offer.digest})

    def join(self) -> None:
        self.may.set()
        self._thread.join(10)


@contextmanager
def portal_and_node(folder: Path) -> Iterator[tuple[Served, Node]]:
    port = free_port()
    data = folder / "portal"
    config = PortalConfig(
        data, f"sqlite:///{data / 'portal.sqlite'}", "127.0.0.1", port, f"http://127.0.0.1:{port}", (), demo=True
    )
    engine = prepare(config)
    with serving(config, engine) as served:
        node = Node(served, config)
        yield served, node
        node.may.set()
    node.join()
    engine.dispose()


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Node]]:
    with portal_and_node(tmp_path_factory.mktemp("pages")) as found:
        yield found


@pytest.fixture
def url(portal: tuple[Served, Node]) -> str:
    portal[1].may.set()
    return portal[0].url


def _person(open_page: OpenPage, url: str, name: str, script: bool = True, width: int = 1280) -> Person:
    person = Person(open_page(script=script, width=width), url)
    person.sign_in(name)
    return person


def test_the_form_says_what_it_knows_while_it_is_typed(url: str, open_page: OpenPage) -> None:
    tess = _person(open_page, url, TEACHER)
    tess.go("/requests/new")
    tess.tool(0).press_sequentially("https://www.youtube.com/watch?v=1")
    expect(tess.known(0)).to_contain_text("www.youtube.com: blocked")
    expect(tess.known(0)).to_contain_text("not one page")
    tess.page.get_by_role("button", name="Another site or app").click()
    expect(tess.tool(1)).to_be_focused()
    tess.tool(1).fill("pornhub.com")
    expect(tess.known(1)).to_contain_text("Adult is locked: no request opens it")
    tess.tool(1).fill("example.com")
    expect(tess.known(1)).to_contain_text("the filter does not block this")
    tess.tool(1).fill("")
    expect(tess.known(1)).to_be_empty()
    tess.tool(0).press("Enter")  # asks, and never sends the form
    expect(tess.page).to_have_url(f"{url}/requests/new")


def test_the_summary_keeps_step_and_the_messages_rule_shows(url: str, open_page: OpenPage) -> None:
    tess = _person(open_page, url, TEACHER)
    tess.go("/requests/new")
    rule = tess.page.get_by_text("The policy has a rule for messages")
    expect(rule).to_be_hidden()
    tess.page.get_by_role("radio", name="Messages with students").check()
    expect(rule).to_be_visible()
    summary = tess.page.locator("summary", has_text="Who and when")
    expect(summary).to_contain_text("Students and Staff at Edison High School")
    summary.click()
    tess.page.get_by_role("checkbox", name="Staff").uncheck()
    tess.page.get_by_role("checkbox", name="Lincoln Middle School").check()
    tess.page.get_by_label("Until (that day included)").fill("2099-01-05")
    expect(summary).to_contain_text("Students at Edison High School and Lincoln Middle School")
    expect(summary).to_contain_text("until Mon, Jan 5, 2099")


def test_both_pages_turn_to_in_force_by_themselves(portal: tuple[Served, Node], open_page: OpenPage) -> None:
    served, node = portal
    node.may.set()
    tess = _person(open_page, served.url, TEACHER)
    rosa = _person(open_page, served.url, REVIEWER)
    rosa.go("/desk")
    number = tess.write_request(["Instagram"], PURPOSE)
    expect(rosa.page.get_by_role("link", name=f"№ {number}", exact=True)).to_be_visible()  # the queue, by itself
    rosa.review(number)
    assert rosa.entries()["instagram.com"]
    rosa.tick("Audiences", ["Students"])
    node.may.clear()
    rosa.decide("Approve", "For the unit.")
    for person in (rosa, tess):
        person.sees_gate("Approved, on its way")
    expect(tess.page.get_by_text("For the unit.").first).to_be_visible()
    node.may.set()
    for person in (rosa, tess):
        person.sees_gate(IN_FORCE)
    expect(tess.page.get_by_text("Devices may remember an answer for up to a minute.")).to_be_visible()


def test_what_somebody_types_stays_while_the_page_changes(url: str, open_page: OpenPage) -> None:
    tess = _person(open_page, url, TEACHER)
    number = tess.write_request(["TikTok"], PURPOSE)
    rosa = _person(open_page, url, REVIEWER)
    rosa.review(number)
    rosa.decide("Ask a question", "Which video?")
    expect(tess.page.get_by_text("Which video?")).to_be_visible()
    tess.page.get_by_label("Your answer").fill("The one of the")
    rosa.go(f"/desk/{number}")
    rosa.decide("Deny", "Too late, the unit is over.")
    expect(tess.page.get_by_text("Too late, the unit is over.")).to_be_visible()
    expect(tess.page.get_by_label("Your answer")).to_have_value("The one of the")


def test_the_whole_story_without_scripts(url: str, open_page: OpenPage) -> None:
    tess = _person(open_page, url, TEACHER, script=False)
    tess.go("/requests/new")
    tess.tool(0).fill("Pinterest")
    tess.page.get_by_role("button", name="Check").click()
    expect(tess.known(0)).to_contain_text("Pinterest: blocked for everybody")
    expect(tess.tool(0)).to_have_value("Pinterest")
    number = tess.write_request(["Pinterest", "https://www.tumblr.com/blog"], PURPOSE)
    rosa = _person(open_page, url, REVIEWER, script=False)
    rosa.review(number)
    rosa.decide("Ask a question", "Which boards?")
    tess.answer(number, "Those of the museums")
    rosa.review(number)
    rosa.decide("Approve")
    for person in (rosa, tess):
        person.go(f"/requests/{number}")
        person.sees_gate(IN_FORCE, reload=True)
    rosa.page.get_by_role("link", name="Grant №").first.click()
    grant = int(rosa.page.url.rsplit("/", 1)[1])
    rosa.revoke(grant, "The unit is over.")
    tess.sees_gate("Revoked on 1 of 1 resolvers", reload=True)
    expect(tess.page.get_by_text("The unit is over.").first).to_be_visible()


def test_a_table_is_sorted_and_searched_on_the_page(url: str, open_page: OpenPage) -> None:
    amir = _person(open_page, url, ADMINISTRATOR)
    amir.go("/district")
    rows = amir.page.locator("#groups tbody tr")
    amir.page.get_by_role("link", name="Networks").click()
    expect(amir.page.get_by_role("columnheader", name="Networks")).to_have_attribute("aria-sort", "ascending")
    expect(rows.first).to_contain_text("127.0.0.1/32")
    amir.page.get_by_role("link", name="Networks").click()
    expect(rows.first).to_contain_text("127.0.0.33/32")
    amir.page.get_by_label("Find").fill("lincoln")
    amir.page.get_by_label("Audience").first.select_option("staff")
    amir.page.get_by_role("button", name="Show").click()
    expect(rows).to_have_count(1)


def test_a_search_in_the_queue_outlives_new_requests(url: str, open_page: OpenPage) -> None:
    tess = _person(open_page, url, TEACHER)
    tess.write_request(["Reddit"], PURPOSE)
    tess.write_request(["Quora"], "Two views of one question.")
    rosa = _person(open_page, url, REVIEWER)
    rosa.go("/desk")
    rows = rosa.page.locator("#queue tbody tr")
    rosa.page.get_by_label("Find in this list").fill("two views")
    expect(rows.filter(visible=True)).to_have_count(1)
    number = tess.write_request(["Flickr"], PURPOSE)
    rosa.page.get_by_label("Find in this list").blur()
    expect(rosa.page.locator(f'#queue a[href="/desk/{number}"]')).to_be_attached()
    expect(rows.filter(visible=True)).to_have_count(1)
    expect(rosa.page.get_by_label("Find in this list")).to_have_value("two views")


@pytest.mark.parametrize("width", [320, 1280])
def test_every_page_fits_its_window(url: str, open_page: OpenPage, width: int) -> None:
    tess = _person(open_page, url, TEACHER)
    number = tess.write_request(["Instagram", "https://www.youtube.com/watch?v=1"], PURPOSE)
    for name, paths in (
        (TEACHER, ("/requests", "/requests/new", f"/requests/{number}", "/grants", "/explain", "/about", "/nowhere")),
        (REVIEWER, ("/desk?show=all", f"/desk/{number}", "/grants/1", "/explain?name=www.instagram.com")),
        (ADMINISTRATOR, ("/district", "/district/groups/edison/students", "/brakes", "/nodes", "/audit")),
    ):
        person = Person(open_page(width=width), url)
        person.page.goto(f"{url}/sign-in")
        assert person.fits(), "/sign-in"
        person.sign_in(name)
        for path in paths:
            person.go(path)
            assert person.fits(), path


def test_the_menu_of_a_narrow_window_opens_and_closes_without_scripts(url: str, open_page: OpenPage) -> None:
    amir = _person(open_page, url, ADMINISTRATOR, script=False, width=360)
    link = amir.page.get_by_role("link", name="Audit")
    expect(link).to_be_hidden()
    amir.page.get_by_role("link", name="Menu").click()
    expect(link).to_be_visible()
    amir.page.get_by_role("link", name="Close").click()
    expect(link).to_be_hidden()


def test_a_request_is_written_by_keyboard_alone(url: str, open_page: OpenPage) -> None:
    tess = _person(open_page, url, TEACHER)
    keys = tess.page.keyboard
    tess.go("/requests/new")
    keys.press("Tab")
    expect(tess.page.get_by_role("link", name="Skip to the page")).to_be_focused()
    keys.press("Enter")
    for _ in range(6):
        keys.press("Tab")
        if tess.tool(0).evaluate("field => field === document.activeElement"):
            break
    expect(tess.tool(0)).to_be_focused()
    keys.type("Vimeo")
    keys.press("Tab")
    keys.press("Tab")
    expect(tess.page.get_by_label("What will students learn or do with it?")).to_be_focused()
    keys.type(PURPOSE)
    for _ in range(3):  # how it is used, who and when, send
        keys.press("Tab")
    expect(tess.page.get_by_role("button", name="Send to the service desk")).to_be_focused()
    keys.press("Enter")
    expect(tess.page.get_by_role("heading", name="Vimeo")).to_be_visible()
