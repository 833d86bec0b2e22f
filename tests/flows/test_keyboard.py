"""The main story by keyboard alone: sign in, ask, review, approve, see it in force, pull a brake. Tab, Enter and Space,
and nothing else but typing. At every stop the focus is to be seen, and it goes forward through the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.flows.browser import ADMINISTRATOR, IN_FORCE, REVIEWER, TEACHER
from tests.flows.conftest import OpenPage
from tests.flows.test_pages import PURPOSE, portal_and_node

pytestmark = pytest.mark.browser

# What is focused now: whether something shows it, whether it lies in the window, and whether it comes after the last.
# A date and a time have stops of its own inside, which the browser paints.
LOOK = """() => {
  const now = document.activeElement, box = now.getBoundingClientRect(), last = window.lastStop;
  const outlined = (one) => {
    const style = one && getComputedStyle(one);
    return style && style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
  };
  window.lastStop = now;
  const after = last && last.isConnected && last.compareDocumentPosition(now) & Node.DOCUMENT_POSITION_FOLLOWING;
  return {
    page: now === document.body,
    seen: outlined(now) || outlined(now.closest('label')) || ['date', 'time'].includes(now.type),
    inside: box.bottom > 0 && box.top < window.innerHeight && box.width > 0,
    forward: !last || !last.isConnected || last === now || Boolean(after),
    what: now.outerHTML.slice(0, 120),
  };
}"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with portal_and_node(tmp_path_factory.mktemp("keyboard")) as (served, node):
        node.may.set()
        yield served.url


class Keyboard:
    """Somebody without a mouse."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.press = page.keyboard.press

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}{path}")
        self.page.evaluate("window.lastStop = null")

    def to(self, wanted: Locator, most: int = 120) -> None:
        """Tab on to the element, looking at every stop on the way."""
        for _ in range(most):
            self.press("Tab")
            stop = self.page.evaluate(LOOK)
            assert not stop["page"], f"the end of the page came before {wanted}"
            assert stop["seen"] and stop["inside"] and stop["forward"], str(stop)
            if wanted.evaluate("one => one === document.activeElement"):
                return
        raise AssertionError(f"{most} stops did not lead to {wanted}")

    def skip(self) -> None:
        """The first stop of every page leads over the menu."""
        self.press("Tab")
        expect(self.page.get_by_role("link", name="Skip to the page")).to_be_focused()
        self.press("Enter")
        self.page.evaluate("window.lastStop = null")

    def sign_in(self, name: str) -> None:
        self.open("/sign-in")
        self.to(self.page.get_by_role("button", name=name))
        self.press("Enter")
        expect(self.page.get_by_text("Signed in as")).to_be_attached()


def test_a_request_is_asked_approved_and_in_force_by_keyboard_alone(url: str, open_page: OpenPage) -> None:
    tess, rosa = Keyboard(open_page(), url), Keyboard(open_page(), url)
    tess.sign_in(TEACHER)
    tess.skip()
    tess.to(tess.page.locator("main").get_by_role("link", name="Request access").first)
    tess.press("Enter")
    expect(tess.page.get_by_label("What will students learn or do with it?")).to_be_visible()
    tess.skip()
    tess.to(tess.page.get_by_role("combobox", name="Website or app 1", exact=True))
    tess.page.keyboard.type("Vimeo")
    tess.to(tess.page.get_by_label("What will students learn or do with it?"))
    tess.page.keyboard.type(PURPOSE)
    tess.to(tess.page.get_by_role("button", name="Send to the service desk"))
    tess.press("Enter")
    expect(tess.page.get_by_role("heading", name="Vimeo")).to_be_visible()
    number = tess.page.url.rsplit("/", 1)[1]

    rosa.sign_in(REVIEWER)
    rosa.open("/desk")
    rosa.skip()
    rosa.to(rosa.page.get_by_role("link", name=f"№ {number}", exact=True))
    rosa.press("Enter")
    expect(rosa.page.get_by_role("heading", name=f"Review № {number}")).to_be_visible()
    rosa.skip()
    staff = rosa.page.get_by_role("group", name="Audiences").get_by_role("checkbox", name="Staff")
    before = staff.is_checked()
    rosa.to(staff)
    rosa.press("Space")
    expect(staff).to_be_checked(checked=not before)
    rosa.to(rosa.page.get_by_label("Reason, question or note to the requester"))
    rosa.page.keyboard.type("For the unit on museums.")
    rosa.to(rosa.page.get_by_role("button", name="Approve", exact=True))
    rosa.press("Enter")
    expect(rosa.page.locator(".gate strong").first).to_have_text(IN_FORCE, timeout=30_000)
    expect(tess.page.locator(".gate strong").first).to_have_text(IN_FORCE, timeout=30_000)


def test_a_brake_and_a_mode_are_pulled_by_keyboard_alone(url: str, open_page: OpenPage) -> None:
    amir = Keyboard(open_page(), url)
    amir.sign_in(ADMINISTRATOR)
    amir.open("/brakes")
    amir.skip()
    amir.to(amir.page.get_by_label("Name"))
    amir.page.keyboard.type("evil.example")
    amir.to(amir.page.get_by_label("Reason"))
    amir.page.keyboard.type("It spreads.")
    amir.to(amir.page.get_by_role("button", name="Block it for everybody"))
    amir.press("Enter")
    expect(amir.page.get_by_text("Set: blocked for everybody")).to_be_visible()
    amir.open("/modes")
    amir.skip()
    amir.to(amir.page.get_by_label("Name", exact=False).first)
    amir.page.keyboard.type("Storm")
    amir.to(amir.page.get_by_role("radio", name="Testing"))
    amir.press("ArrowDown")  # to the next of a group of radio buttons
    expect(amir.page.get_by_role("radio", name="Lock-down")).to_be_checked()
    for box in ("Every site", "Students"):
        amir.to(amir.page.get_by_role("checkbox", name=box, exact=False).first)
        amir.press("Space")
    amir.to(amir.page.get_by_label("Minutes"))
    amir.page.keyboard.type("60")
    amir.to(amir.page.get_by_role("button", name="Prepare it"))
    amir.press("Enter")
    expect(amir.page.get_by_role("heading", name="Storm")).to_be_visible()
    amir.skip()
    amir.to(amir.page.locator("summary", has_text="Switch on"))
    amir.press("Enter")
    amir.to(amir.page.get_by_label("Reason"))
    amir.page.keyboard.type("The sirens")
    amir.to(amir.page.get_by_role("button", name="Switch it on now"))
    amir.press("Enter")
    expect(amir.page.get_by_role("button", name="Switch off Storm")).to_be_visible()
