"""The People and API tokens pages as an administrator and a teacher use them."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pyotp

from tests.portal.gatehouse import Served
from tests.portal.pages.conftest import SignIn
from tests.portal.pages.gate import Browser
from tests.portal.pages.test_asking import ask

PASSWORD = "four random words here"


def test_an_account_is_made_changed_disabled_and_enabled(sign_in: SignIn) -> None:
    amir = sign_in("amir")
    amir.open("/people/new")
    amir.send("/people/new", {"name": "", "email": "no", "password": "short"})
    assert "A password has 12" in amir.text
    amir.send("/people/new", {"name": "", "email": "no", "password": ""})
    assert "Write an e-mail address" in amir.text and "Write the person's name" in amir.text
    amir.send("/people/new", {"name": "Cora Lee", "email": "cora@riverbend.example"})
    place = amir.path()
    amir.send(place, {"roles": ["reviewer", "auditor"], "site": "edison", "deed": "save"})
    assert amir.form(place)["roles"] == ["reviewer", "auditor"]
    amir.send(place, {"deed": "disable"})
    assert "Disabled" in amir.text
    amir.open("/people?q=cora&state=disabled")
    assert "Cora Lee" in amir.text and "1–1 of 1" in amir.text
    amir.open(place)
    amir.send(place, {"deed": "enable"})
    assert "in use again" in amir.text


def test_the_last_administrator_is_not_disabled_and_the_page_says_so(sign_in: SignIn) -> None:
    amir = sign_in("amir")
    place = next(path for path in re.findall(r'href="(/people/\d+)"', amir.open("/people?q=amir").text))
    amir.open(place)
    assert amir.send(place, {"deed": "disable"}).status_code == 409
    assert "last administrator" in amir.text


def test_a_leavers_requests_pass_on(sign_in: SignIn) -> None:
    number = ask(sign_in("tess"), "Instagram")
    amir = sign_in("amir")
    place = re.findall(r'href="(/people/\d+)"', amir.open("/people?q=tess").text)[0]
    amir.open(place)
    assert amir.send(place, {"to": "who@riverbend.example", "deed": "hand-over"}).status_code == 422
    assert amir.form(place)["to"] == ["who@riverbend.example"]
    amir.send(place, {"to": "ben.ode@riverbend.example", "deed": "hand-over"})
    assert "1 request passed to Ben Ode" in amir.text
    assert sign_in("ben").open(f"/requests/{number}").status_code == 200
    assert sign_in("tess").open(f"/requests/{number}").status_code == 404


def test_the_second_step_shows_a_qr_code_then_recovery_codes_and_leads_on(
    portal: Served, sign_in: SignIn, visitor: Callable[[], Browser]
) -> None:
    amir = sign_in("amir")
    amir.open("/account")
    amir.send("/account/codes")
    secret = re.findall(r'id="totp-secret">(\w+)<', amir.page.text if amir.page else "")[0]
    assert "<svg" in (amir.page.text if amir.page else "")
    assert amir.send("/account/codes", {"code": "000000"}).status_code == 422
    amir.send("/account/codes", {"code": pyotp.TOTP(secret).now()})
    assert "Keep these recovery codes" in amir.text
    amir.open("/people")
    amir.send("/people/second-factor", {"on": "yes"})
    assert "a code of an authenticator app" in amir.text
    amir.open("/people/new")
    amir.send("/people/new", {"name": "Jo", "email": "jo@riverbend.example", "password": PASSWORD, "roles": "reviewer"})

    jo = visitor()
    jo.open("/desk")
    jo.send("/sign-in", {"email": "jo@riverbend.example", "password": PASSWORD})
    assert jo.path() == "/sign-in/code"
    secret = re.findall(r'id="totp-secret">(\w+)<', jo.page.text if jo.page else "")[0]
    assert jo.send("/sign-in/code", {"code": "1"}).status_code == 422
    jo.send("/sign-in/code", {"code": pyotp.TOTP(secret).now()})
    assert "Keep these recovery codes" in jo.text and 'href="/desk"' in (jo.page.text if jo.page else "")
    assert jo.open("/desk").status_code == 200


def test_a_token_is_shown_once_works_and_is_revoked(sign_in: SignIn, portal: Served) -> None:
    tess = sign_in("tess")
    tess.open("/tokens")
    assert "a machine" not in tess.text
    assert tess.send("/tokens", {"name": "script", "role": "administrator", "days": "9"}).status_code == 422
    tess.send("/tokens", {"name": "script", "role": "requester", "days": "9"})
    assert "Requester, reads" in tess.text  # the least, unless more is wanted
    secret = re.findall(r'id="token">(sgt_[^<]+)', tess.page.text if tess.page else "")[0]
    bearer = {"Authorization": f"Bearer {secret}"}
    assert httpx.get(f"{portal.url}/api/v1/requests", headers=bearer).status_code == 200
    body = {"tools": [{"name": "pinterest.com"}], "purpose": "A poster"}
    refused = httpx.post(f"{portal.url}/api/v1/requests", headers=bearer, json=body)
    assert refused.status_code == 403 and "only reads" in refused.text
    assert secret not in tess.open("/tokens").text
    revoke = re.findall(r'action="(/tokens/\d+/revoke)"', tess.page.text if tess.page else "")[0]
    tess.send(revoke)
    assert "Revoked" in tess.text
    assert httpx.get(f"{portal.url}/api/v1/requests", headers=bearer).status_code == 401
