"""The district's logo and colour on its pages."""

from __future__ import annotations

import httpx

from tests.portal.pages.conftest import SignIn
from tests.portal.places.test_logo import png


def test_the_logo_is_taken_with_the_sessions_token_and_shown_on_every_page(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    browser.open("/set-up")
    csrf = browser.form("/set-up/logo")["csrf"][0]
    client: httpx.Client = browser.client
    refused = client.post("/set-up/logo", data={"csrf": "x"}, files={"logo": ("l.png", png(), "image/png")})
    assert refused.status_code == 403
    hostile = client.post("/set-up/logo", data={"csrf": csrf}, files={"logo": ("l.svg", b"<svg/>", "image/png")})
    assert hostile.status_code == 422
    taken = client.post("/set-up/logo", data={"csrf": csrf}, files={"logo": ("l.png", png(), "image/png")})
    assert taken.status_code in (200, 303)
    browser.open("/requests")
    assert "/logo.png?v=" in client.get("/requests").text
    shown = client.get("/logo.png")
    assert (shown.content, shown.headers["content-type"]) == (png(), "image/png")


def test_the_colour_is_a_stylesheet_of_its_own(sign_in: SignIn) -> None:
    browser = sign_in("amir")
    browser.open("/set-up")
    given = {"name": "Riverbend ISD", "zone": "America/Chicago", "contact": "555 0100", "colour": "#1f6feb"}
    browser.send("/set-up/settings", given)
    assert "#1f6feb" in browser.client.get("/district.css").text
    assert "/district.css?v=1f6feb" in browser.client.get("/requests").text
