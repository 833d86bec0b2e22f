"""The API answers as its OpenAPI document says: called with made-up and hostile input by Schemathesis.

No 5xx, no status and no content type that is not documented. `SCHOOLGATE_EXAMPLES` asks for more per operation.
"""

from __future__ import annotations

import os
import time
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from portal.database import transaction
from portal.models.words import Role
from portal.people import accounts
from portal.people.accounts import TokenDraft
from portal.people.sessions import user_actor
from tests.portal import gatehouse
from tests.portal.gatehouse import FakeNode, Served
from tests.portal.pages.conftest import PEOPLE, config, portal, pristine  # noqa: F401

EXAMPLES = int(os.environ.get("SCHOOLGATE_EXAMPLES", "3"))
PATIENCE = 120  # seconds: machines are slow and busy
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]
STREAM = "/api/v1/node/stream"  # never ends


@pytest.mark.slow
@pytest.mark.parametrize("who", ["amir", "rosa", "a node"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_operation_answers_as_it_is_documented(portal: Served, who: str) -> None:  # noqa: F811
    """A node's credential opens its own routes and nothing else, and people's tokens open the rest."""
    secret = credential(portal) if who == "a node" else bearer_token(portal, who)
    document = f"{portal.url}/api/openapi.json"
    assert httpx.get(document, timeout=PATIENCE).status_code == 200  # made once; Schemathesis waits for 10 s only
    schema = schemathesis.openapi.from_url(document)
    wrong: list[str] = []
    statuses: set[int] = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == STREAM or operation.path.startswith("/api/v1/node/") is not (who == "a node"):
            continue

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def call(case: Any) -> None:
            bearer = {"Authorization": f"Bearer {secret}"}
            answer = case.call_and_validate(checks=CHECKS, headers=bearer, timeout=PATIENCE)
            statuses.add(answer.status_code)

        try:
            call()
        except (Exception, BaseExceptionGroup) as error:
            wrong.append(f"{operation.label}: {str(error)[:600]}")
    assert not wrong, "\n\n".join(wrong)
    assert {404, 422} <= statuses and statuses & {200, 204}, statuses


def bearer_token(portal: Served, who: str) -> str:  # noqa: F811
    role = {"amir": Role.ADMINISTRATOR, "rosa": Role.REVIEWER}[who]
    with transaction(portal.wired.engine) as session:
        actor = user_actor(accounts.by_email(session, PEOPLE[who]))
        return accounts.create_token(session, actor, 1.0e9 * 2, TokenDraft("t", role, machine=False)).secret


def credential(portal: Served) -> str:  # noqa: F811
    wired = portal.wired
    token = gatehouse.token(wired.config, wired.engine, time.time())
    return FakeNode.enrolled(portal.url, token).credential
