"""An employee and a student at a real identity provider, in a real browser: `oidc-provider-mock`, in a process of its
own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from playwright.sync_api import expect

from portal.access import SYSTEM
from portal.config import OidcConfig, ProviderKind
from portal.database import transaction
from portal.oidc.provider import Provider
from portal.people import accounts
from portal.people.accounts import UserDraft
from tests.flows.conftest import OpenPage
from tests.flows.district import free_port, until
from tests.flows.test_accessibility import found_on
from tests.portal.gatehouse import Served, config_in, founded, serving
from tests.portal.oidc.conftest import PATIENT

pytestmark = pytest.mark.browser

DOMAIN = "riverbend.example"


def person(name: str) -> str:
    email = f"{name}@{DOMAIN}"
    return json.dumps({"sub": f"subject-of-{name}", "email": email, "email_verified": True, "hd": DOMAIN})


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    port = free_port()
    words = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port), "--require-nonce", "true"]
    for name in ("tess", "student"):
        words += ["--user-claims", person(name)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        assert process.poll() is None, "the provider did not start"
        try:
            return httpx.get(f"http://localhost:{port}/.well-known/openid-configuration").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        until(answers, within=60, what="the provider")
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def portal(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    told = OidcConfig(ProviderKind.GOOGLE, issuer, "schoolgate", "any", domains=(DOMAIN,))
    config = replace(config_in(tmp_path_factory.mktemp("provider"), free_port()), oidc=told)
    engine = founded(config)
    with transaction(engine) as session:
        accounts.create_user(
            session, SYSTEM, time.time(), UserDraft(f"tess@{DOMAIN}", "Tess Okafor", ("requester",)), ""
        )
    with serving(config, engine) as served:
        served.app.state.deps = replace(served.wired, provider=Provider(told, PATIENT))
        yield served
    engine.dispose()


def test_an_employee_comes_in_by_the_button_and_goes_on_where_they_wanted(open_page: OpenPage, portal: Served) -> None:
    page = open_page()
    page.goto(f"{portal.url}/requests/new?tool=pinterest.com")
    page.get_by_role("link", name="Sign in with Google").click()
    page.get_by_role("button", name="subject-of-tess").click()
    expect(page.get_by_label("What will students learn or do with it?")).to_be_visible()
    assert page.url == f"{portal.url}/requests/new?tool=pinterest.com"
    page.goto(f"{portal.url}/account")
    expect(page.get_by_text("Linked since")).to_be_visible()
    assert found_on(page) == []
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    expect(page.get_by_role("link", name="Sign in with Google")).to_be_visible()


def test_a_student_reads_kind_words_and_whoever_says_no_is_back_at_the_start(
    open_page: OpenPage, portal: Served
) -> None:
    page = open_page(width=320)
    page.goto(f"{portal.url}/sign-in")
    page.get_by_role("link", name="Sign in with Google").click()
    page.get_by_role("button", name="subject-of-student").click()
    expect(page.get_by_role("heading", name="If you are a student")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert found_on(page) == []
    page.get_by_role("link", name="Sign-in page").click()
    page.get_by_role("link", name="Sign in with Google").click()
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_role("alert")).to_contain_text("You did not sign in with Google")
    assert found_on(page) == []
