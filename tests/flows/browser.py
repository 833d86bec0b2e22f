"""The pages as a person uses them: words on buttons and labels, no ids. For flows in a real browser.

With or without scripts the same calls work; `reload=True` waits by reloading, as the page itself asks to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

TEACHER, REVIEWER, ADMINISTRATOR = "Tess Okafor", "Rosa Diaz", "Amir Khan"

IN_FORCE = re.compile(r"In force on (\d+) of (\d+) resolvers, after [\d.]+ (ms|s)")


@dataclass
class Person:
    """Somebody at a browser. `url` is the portal's address."""

    page: Page
    url: str

    def sign_in(self, name: str) -> None:
        """With one click, on a demo portal."""
        self.page.goto(f"{self.url}/sign-in")
        self.page.get_by_role("button", name=name).click()
        expect(self.page.get_by_text("Signed in as")).to_be_attached()

    def sign_out(self) -> None:
        self.page.get_by_role("button", name="Sign out").click()
        expect(self.page.get_by_role("heading", name="Ask for a site your lesson needs")).to_be_visible()

    def go(self, path: str) -> None:
        self.page.goto(f"{self.url}{path}")

    def mistakes(self) -> list[str]:
        """What the page says is wrong, first thing."""
        return self.page.locator("#mistakes li").all_inner_texts()

    # ---- the requester ----

    def write_request(self, tools: Sequence[str], purpose: str, use: str | None = None) -> int:
        """Write and send a request from its page; return its number."""
        self.go("/requests")
        self.page.get_by_role("link", name="Request access").first.click()
        for at, tool in enumerate(tools):
            if at:
                self.page.get_by_role("button", name="Another site or app").click()
            self.tool(at).fill(tool)
        self.page.get_by_label("What will students learn or do with it?").fill(purpose)
        if use is not None:
            self.page.get_by_role("radio", name=use).check()
        self.page.get_by_role("button", name="Send to the service desk").click()
        self.page.wait_for_url(re.compile(r"/requests/\d+$"))
        return int(self.page.url.rsplit("/", 1)[1])

    def tool(self, at: int) -> Locator:
        """The field for the tool at a place, from 0."""
        return self.page.get_by_role("combobox", name=f"Website or app {at + 1}", exact=True)

    def known(self, at: int) -> Locator:
        """What the form says it knows of that tool."""
        return self.page.locator(f"#f-tools-{at}-known")

    def answer(self, number: int, text: str) -> None:
        self.go(f"/requests/{number}")
        self.page.get_by_label("Your answer").fill(text)
        self.page.get_by_role("button", name="Send the answer").click()

    # ---- the reviewer ----

    def review(self, number: int) -> None:
        """Open a request from the queue."""
        self.go("/desk")
        self.page.get_by_role("link", name=f"№ {number}", exact=True).click()
        expect(self.page.get_by_role("heading", name=f"Review № {number}")).to_be_visible()

    def entries(self) -> dict[str, bool]:
        """The names of the grant under review, and whether each is ticked."""
        rows = self.page.locator(".entry").all()
        return {
            row.get_by_role("textbox").input_value(): row.get_by_role("checkbox").is_checked()
            for row in rows
            if row.get_by_role("textbox").input_value()
        }

    def tick(self, group: str, labels: Sequence[str]) -> None:
        """Tick exactly these boxes of a group: `tick("Audiences", ["Students"])`."""
        for box in self.page.get_by_role("group", name=group).get_by_role("checkbox").all():
            label = box.locator("xpath=..").inner_text().strip()
            box.set_checked(label in labels)

    def decide(self, button: str, reason: str = "") -> None:
        """`Approve`, `Ask a question`, `Deny` or `Not our block`."""
        if reason:
            self.page.get_by_label("Reason, question or note to the requester").fill(reason)
        self.page.get_by_role("button", name=button, exact=True).click()

    def revoke(self, grant: int, reason: str) -> None:
        self.go(f"/grants/{grant}")
        self.page.get_by_label("Reason").fill(reason)
        self.page.get_by_role("button", name=f"Revoke grant № {grant}").click()

    # ---- what everybody sees ----

    def gate(self) -> Locator:
        """The sentence that says how far a decision has come."""
        return self.page.locator(".gate strong").first

    def sees_gate(self, text: str | re.Pattern[str], reload: bool = False, seconds: float = 20) -> None:
        """Wait until the gate says `text`: by itself, or (without scripts) by reloading."""
        if not reload:
            expect(self.gate()).to_have_text(text, timeout=seconds * 1000)
            return
        for _ in range(max(1, int(seconds * 5))):
            said = self.gate().inner_text()
            if re.search(text, said):
                return
            self.page.wait_for_timeout(200)
            self.page.reload()
        raise AssertionError(f"the gate says {self.gate().inner_text()!r}, not {text!r}")

    def fits(self) -> bool:
        """True when nothing makes the page wider than the window."""
        wide: int = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return wide <= 0
