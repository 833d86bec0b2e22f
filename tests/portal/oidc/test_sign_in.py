"""Signing in at the provider as people do it: linked once, refused kindly, with a code where a code is due."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pyotp
import pytest

from portal.access import SYSTEM
from portal.config import OidcConfig, ProviderKind
from portal.database import transaction
from portal.oidc import flow
from portal.oidc.provider import Provider
from portal.people import accounts, second_factor
from portal.verdicts.why import Pace
from tests.portal.oidc.conftest import DOMAIN, PATIENT, House, oidc
from tests.portal.oidc.idp import Idp
from tests.portal.pages.gate import Browser

Come = Callable[[], Browser]
TENANT = "11111111-2222-3333-4444-555555555555"
PASSWORD = "five plain words of mine"


def test_the_first_sign_in_links_the_account_and_every_step_is_on_record(house: House, visitor: Come) -> None:
    number = house.account("ann")
    house.is_("ann", "s-ann")
    browser = visitor()
    browser.open("/requests/new?tool=pinterest.com")
    assert "Sign in with Google" in browser.text
    browser.open("/sign-in/oidc?next=/requests/new%3Ftool%3Dpinterest.com")
    assert browser.page is not None and browser.page.url.path == "/requests/new"
    assert browser.page.url.query == b"tool=pinterest.com"
    assert house.identities(number) == ["s-ann"]
    house.idp.person["email"] = f"renamed@{DOMAIN}"
    again = visitor()
    again.open("/sign-in/oidc")
    assert house.signed_in(again).id == number  # type: ignore[union-attr]
    browser.open("/account")
    assert "Linked since" in browser.text
    browser.send("/sign-out")
    assert house.signed_in(browser) is None
    assert house.tags(number) == [
        "people.user.create",
        "people.identity.link",
        "session.oidc.begin",
        "session.oidc.begin",
        "session.browser.end",
    ]


def test_the_provider_is_asked_for_no_more_than_is_needed_and_with_pkce(house: House, visitor: Come) -> None:
    browser = visitor()
    browser.client.follow_redirects = False
    answer = browser.client.get("/sign-in/oidc")
    asked = httpx.URL(answer.headers["location"]).params
    assert {name: asked[name] for name in ("response_type", "scope", "code_challenge_method", "prompt", "hd")} == {
        "response_type": "code",
        "scope": "openid email profile",
        "code_challenge_method": "S256",
        "prompt": "select_account",
        "hd": DOMAIN,
    }
    assert asked["redirect_uri"] == f"{house.served.url}{flow.CALLBACK}"
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and asked["state"] not in cookie


def test_going_on_leads_nowhere_else(house: House, visitor: Come) -> None:
    house.account("gil")
    house.is_("gil")
    for wanted in ("//evil.example/", "https://evil.example/", "/\\evil.example"):
        browser = visitor()
        browser.open(f"/sign-in/oidc?next={wanted}")
        assert browser.path() == "/requests"


def test_a_disabled_account_is_told_so(house: House, visitor: Come) -> None:
    number = house.account("dan")
    house.is_("dan")
    with transaction(house.served.wired.engine) as session:
        accounts.disable(session, SYSTEM, time.time(), number)
    browser = visitor()
    assert browser.open("/sign-in/oidc").status_code == 403
    assert "This account is disabled" in browser.text
    assert house.signed_in(browser) is None and house.identities(number) == []


def test_a_reviewers_code_is_asked_for_after_the_provider_too(house: House, visitor: Come) -> None:
    number = house.account("rae", "reviewer")
    wired = house.served.wired
    with transaction(wired.engine) as session:
        totp = pyotp.TOTP(second_factor.begin(session, wired.sealer, time.time(), number).secret)
        user = accounts.get(session, number)
        second_factor.confirm(session, wired.sealer, time.time() - 60, user, totp.at(int(time.time()) - 60))
    house.is_("rae")
    browser = visitor()
    browser.open("/sign-in/oidc?next=/desk")
    assert browser.path() == "/sign-in/code"
    assert house.signed_in(browser) is None
    browser.send("/sign-in/code", {"code": totp.now()})
    assert browser.path() == "/desk"
    assert "session.code.begin" in house.tags(number)


def test_an_administrator_unlinks_an_identity_and_the_next_one_links(house: House, visitor: Come) -> None:
    number = house.account("una")
    house.account("chief", "administrator", password=PASSWORD)
    house.is_("una", "first")
    browser = visitor()
    browser.open("/sign-in/oidc")
    house.is_("una", "second")
    other = visitor()
    assert other.open("/sign-in/oidc").status_code == 403
    assert "linked to another identity" in other.text
    chief = visitor()
    chief.open("/sign-in")
    chief.send("/sign-in", {"email": f"chief@{DOMAIN}", "password": PASSWORD})  # passwords go on working
    chief.open(f"/people/{number}")
    chief.send(f"/people/{number}", {"deed": "unlink"})
    assert "The identity is unlinked" in chief.text
    assert house.signed_in(browser) is None
    other.open("/sign-in/oidc")
    assert house.identities(number) == ["second"]


def test_a_person_links_their_own_account_in_their_own_session_only(house: House, visitor: Come) -> None:
    number = house.account("kim", password=PASSWORD)
    house.is_("kim", "private")
    house.idp.person["email"] = f"another.address@{DOMAIN}"
    browser, thief = visitor(), visitor()
    browser.open("/sign-in")
    browser.send("/sign-in", {"email": f"kim@{DOMAIN}", "password": PASSWORD})
    browser.open("/account")
    for password in ("", "not mine at all"):  # an open browser, or a stolen session, links nothing
        assert browser.send("/account/identity", {"password": password}).status_code == 403
        assert "do not belong together" in browser.text and "Continue to Google" not in browser.text
    there = provider_address(browser)
    back = browser.client.get(there).headers["location"]
    thief.client.cookies.set(flow.COOKIE, browser.client.cookies[flow.COOKIE], domain="127.0.0.1")
    assert thief.open(back).status_code == 403
    assert house.identities(number) == []
    back = browser.client.get(provider_address(browser)).headers["location"]
    assert browser.client.get(back).headers["location"] == "/account"
    assert house.identities(number) == ["private"]


def provider_address(browser: Browser) -> str:
    """Begin to link; return the provider's address, which the page shows as a link."""
    browser.client.follow_redirects = True
    browser.open("/account")
    markup = browser.send("/account/identity", {"password": PASSWORD}).text
    browser.client.follow_redirects = False
    return markup.partition('<a class="button" href="')[2].partition('"')[0].replace("&amp;", "&")


def test_a_flood_of_beginnings_is_slowed_down_and_known_browsers_are_not(
    house: House, visitor: Come, told: Callable[[OidcConfig | None], None]
) -> None:
    """`told` puts the portal back."""
    house.account("val")
    house.is_("val")
    known, flood = visitor(), visitor()
    known.open("/sign-in/oidc")
    known.send("/sign-out")
    house.served.app.state.deps = replace(house.served.wired, arrivals=Pace(most=3, minute=1e9))
    for expected in (403, 403, 403, 429):
        house.is_("nobody")
        assert flood.open("/sign-in/oidc").status_code == expected
    assert "Many sign-ins begin from your network" in flood.text
    house.is_("val")
    assert known.open("/sign-in/oidc").status_code == 200
    assert house.signed_in(known) is not None


@pytest.fixture
def told(house: House) -> Iterator[Callable[[OidcConfig | None], None]]:
    """The same portal with another provider, or with none."""
    before = house.served.wired

    def tell(config: OidcConfig | None) -> None:
        provider = None if config is None else Provider(config, PATIENT)
        config_now = replace(before.config, oidc=config)
        house.served.app.state.deps = replace(before, config=config_now, provider=provider)

    yield tell
    house.served.app.state.deps = before


def test_a_provider_that_is_gone_leaves_the_password(
    house: House, visitor: Come, told: Callable[[OidcConfig | None], None]
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and never listens
        told(oidc(Idp(url=f"http://127.0.0.1:{nobody.getsockname()[1]}")))
        browser = visitor()
        assert browser.open("/sign-in/oidc?next=/desk").status_code == 503
    assert "Google does not answer as it should" in browser.text
    assert browser.form("/sign-in")["next"] == ["/desk"]


def test_entra_asks_for_the_tenant_and_the_role_and_keys_on_the_object(
    house: House, visitor: Come, told: Callable[[OidcConfig | None], None]
) -> None:
    told(oidc(house.idp, kind=ProviderKind.ENTRA, domains=(), tenant=TENANT, staff_role="Staff"))
    number = house.account("eve")

    def arrive(**claims: object) -> Browser:
        house.idp.person = {"tid": TENANT, "oid": "o1", "email": f"eve@{DOMAIN}", **claims}
        browser = visitor()
        browser.open("/sign-in/oidc")
        return browser

    for claims in (
        {"roles": ["Student"], "xms_edov": True},
        {"roles": ["Staff"]},  # an address that anybody can type there
        {"roles": ["Staff"], "xms_edov": True, "tid": "another"},
    ):
        browser = arrive(**claims)
        assert house.signed_in(browser) is None
        assert "Microsoft knows you" in browser.text
    assert house.signed_in(arrive(roles=["Staff"], xms_edov=True)) is not None
    assert house.identities(number) == [f"{TENANT}/o1"]
    assert house.signed_in(arrive(roles=["Staff"], sub="another one for this app")) is not None
    browser = visitor()
    browser.open("/sign-in")
    assert "Sign in with Microsoft" in browser.text


def test_without_a_provider_there_is_no_button_and_no_way(
    visitor: Come, told: Callable[[OidcConfig | None], None]
) -> None:
    told(None)
    browser = visitor()
    browser.open("/sign-in")
    assert "Sign in with" not in browser.text
    for path in ("/sign-in/oidc", "/sign-in/oidc/callback?code=x&state=y"):
        assert browser.open(path).status_code == 404
