"""Who is an employee, by the word of Google or Entra."""

from __future__ import annotations

from typing import Any

import pytest

from portal.config import OidcConfig, ProviderKind
from portal.oidc.staff import Claimed, NotStaff, claimed

TENANT = "11111111-2222-3333-4444-555555555555"
ENTRA = OidcConfig(ProviderKind.ENTRA, "https://idp.example", "c", "s", tenant=TENANT, staff_role="Staff")
GOOGLE = OidcConfig(ProviderKind.GOOGLE, "https://g.example", "c", "s", domains=("a.example", "b.example"))
PERSON = {"tid": TENANT, "oid": "o1", "sub": "pairwise", "roles": ["Other", "Staff"], "email": "Tess@A.example"}
WORKER = {"sub": "g1", "hd": "B.example", "email_verified": True, "email": " Tess@B.example"}


def test_entra_knows_people_by_object_and_tenant_and_trusts_no_address_that_was_typed_there() -> None:
    assert claimed(ENTRA, PERSON) == Claimed("https://idp.example", f"{TENANT}/o1", "")
    for word in ({"xms_edov": True}, {"xms_edov": "1"}, {"email_verified": True}):
        assert claimed(ENTRA, {**PERSON, **word}).email == "tess@a.example"
    for word in ({"xms_edov": False}, {"xms_edov": "0"}, {"email_verified": "true"}, {"email_verified": 1}):
        assert claimed(ENTRA, {**PERSON, **word}).email == ""


@pytest.mark.parametrize(
    "change",
    [
        {"tid": "99999999-2222-3333-4444-555555555555"},
        {"tid": None},
        {"oid": None},
        {"oid": ""},
        {"oid": 7},
        {"oid": "x" * 65},
        {"roles": None},
        {"roles": []},
        {"roles": ["Student"]},
        {"roles": ["staff"]},
        {"roles": "Staff"},
        {"roles": {"Staff": 1}},
    ],
)
def test_entra_without_the_tenant_the_person_or_the_role_is_no_employee(change: dict[str, Any]) -> None:
    with pytest.raises(NotStaff):
        claimed(ENTRA, {**PERSON, **change})


def test_google_knows_people_by_subject_in_one_of_the_districts_domains() -> None:
    assert claimed(GOOGLE, WORKER) == Claimed("https://g.example", "g1", "tess@b.example")
    for email in (None, 7, "x" * 300, "a\x00b@b.example"):
        assert claimed(GOOGLE, {**WORKER, "email": email}).email == ""
