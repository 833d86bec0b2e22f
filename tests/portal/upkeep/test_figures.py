"""The portal's figures: what is scraped is documented, what is documented is scraped, and both say the truth."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from portal.access import SYSTEM
from portal.database import transaction
from portal.models.words import Role
from portal.people import accounts
from portal.people.accounts import TokenDraft
from portal.upkeep.figures import quantile
from tests.metric_names import PORTAL_SECTION, exported, names_in, samples
from tests.portal.gatehouse import FakeNode, config_in, founded, free_port, grant, serving, token
from tests.resolver.fake_portal import until


def test_the_portal_s_figures_are_those_of_the_document(tmp_path: Path) -> None:
    config = config_in(tmp_path, free_port())
    engine = founded(config)
    with serving(config, engine) as served:
        until(lambda: httpx.get(f"{served.url}/readyz").status_code == 200)
        assert httpx.get(f"{served.url}/metrics").status_code == 401
        with transaction(engine) as session:
            draft = TokenDraft("prometheus", Role.AUDITOR, machine=True)
            headers = {"Authorization": f"Bearer {accounts.create_token(session, SYSTEM, time.time(), draft).secret}"}
        node = FakeNode.enrolled(served.url, token(config, engine, time.time()))
        with node.client() as client:
            offers = node.offers(client)
            next(offers)
            time.sleep(1.1)  # enrolment is kept in whole seconds, and must come before the decision
            grant(engine, "a.example", at=time.time())
            served.wired.wake()
            newest = next(offers)
            client.post("/acks", json={"version": newest.version, "digest": newest.digest}).raise_for_status()
            text = httpx.get(f"{served.url}/metrics", headers=headers).text
        found = samples(text)
        assert exported(text) == names_in(PORTAL_SECTION)
        assert found["schoolgate_portal_policy_version", ()] == newest.version
        assert found["schoolgate_portal_nodes", (("state", "silent"),)] == 1
        assert 0 < found["schoolgate_portal_publication_latency_seconds", (("quantile", "1.0"),)] < 60
        assert found["schoolgate_portal_requests", (("state", "submitted"),)] == 0
    engine.dispose()


def test_a_quantile_is_a_value_that_was_seen() -> None:
    seen = [0.1, 0.2, 0.3, 0.4]
    assert [quantile(seen, share) for share in (0.5, 0.95, 1.0)] == [0.2, 0.4, 0.4]
    assert quantile([7.0], 0.5) == 7.0
