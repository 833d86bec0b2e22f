"""A real Chromium for the flows. Where there is none a flow is skipped; with CI=true it fails instead."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")  # not the session: Playwright keeps an event loop running in this thread meanwhile
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        message = "there is no Chromium: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    expect.set_options(timeout=30_000)  # milliseconds: machines of CI are slow and busy
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """Return a maker of pages, each with cookies of its own: `open_page(script=False, width=360, dark=True)`.

    What a page complains of (an error in a script, a refused style) fails the test that opened it.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def opened(script: bool = True, width: int = 1280, dark: bool = False) -> Page:
        context = chromium.new_context(
            java_script_enabled=script,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on("console", lambda said: complaints.append(f"{page.url}: {said.text}") if _matters(said.text) else None)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def _matters(said: str) -> bool:
    """Chromium also writes a line for every answer of 4xx, which tests ask for on purpose."""
    return "Content Security Policy" in said or "Refused to" in said
