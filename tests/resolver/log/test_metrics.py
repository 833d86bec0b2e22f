"""A running node's figures as Prometheus reads them; every one is documented, and the dashboard asks for no other."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from resolver.log.metrics import node_families, tally_families
from resolver.log.tally import Tally
from tests.metric_names import DOCUMENT, NODE_SECTION, exported, names_in, samples
from tests.portal.gatehouse import free_port
from tests.resolver.fake_portal import District, FakePortal, base_of, until
from tests.resolver.node import QUERY, Node, none_alive

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "deploy" / "examples" / "grafana" / "schoolgate.json"


@pytest.fixture
def portal() -> Iterator[FakePortal]:
    made = FakePortal(District())
    yield made
    made.stop()


def test_a_scrape_of_a_running_node_tells_what_was_asked_and_every_name_is_documented(
    tmp_path: Path, portal: FakePortal
) -> None:
    node = Node(tmp_path / "state", portal, worker="real")
    port = free_port()
    node.options = [f"--metrics={port}"]
    node.start()
    url = f"http://127.0.0.1:{port}/metrics"
    try:
        offer = portal.publish(1, base_of("instagram.com"))
        until(lambda: portal.acked(offer))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            for _ in range(3):
                client.sendto(QUERY, ("127.0.0.1", node.port))
                assert client.recv(512)[3] & 15 == 3

        def counted() -> bool:
            found = samples(httpx.get(url).text)
            return sum(value for (name, _), value in found.items() if name == "schoolgate_queries_total") == 3

        until(counted)
        until(lambda: samples(httpx.get(url).text)["schoolgate_verdicts_total", (("verdict", "block"),)] == 3)
        found = samples(httpx.get(url).text)
        assert found["schoolgate_policy_version", ()] == 1
        assert found["schoolgate_workers_ready", ()] == 2
        by_worker = [found[key] for key in found if key[0] == "schoolgate_worker_queries_seen_total"]
        assert len(by_worker) == 2
        assert sum(by_worker) == found["schoolgate_queries_seen_total", ()] == 3
        assert found["schoolgate_transport_queries_total", (("transport", "udp"),)] == 3
        (labels,) = [dict(key[1]) for key in found if key[0] == "schoolgate_queries_total"]
        assert (labels["action"], labels["category"], labels["type"]) == ("block", "social-media", "A")
        assert all(value > 1e6 for (name, _), value in found.items() if name == "schoolgate_process_memory_bytes")
        assert exported(httpx.get(url).text) == names_in(NODE_SECTION)
        assert "127.0.0.1" not in httpx.get(url).text
        for pid in node.pids("metrics"):
            node.kill(pid)  # a scrape less, and no more than that
        until(lambda: len(node.pids("metrics")) == 1 and _answers(url))
    finally:
        children = node.pids("")
        node.stop()
        none_alive(children)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def test_the_dashboard_asks_for_documented_names_only_and_shows_most_of_them() -> None:
    board = json.loads(DASHBOARD.read_text())
    asked = {
        re.sub(r"_bucket$", "", name)
        for panel in board["panels"]
        for target in panel.get("targets", ())
        for name in re.findall(r"\bschoolgate_[a-z_]+", target["expr"])
    }
    assert asked <= names_in(DOCUMENT)
    assert len(asked) >= 12


def test_a_node_that_has_counted_nothing_yet_has_figures_all_the_same(tmp_path: Path) -> None:
    assert [family.name for family in tally_families(Tally(tmp_path).plain())] == [
        "schoolgate_queries",
        "schoolgate_upstream_wait_seconds",
    ]
    status = {"version": None, "workers": 1, "workers_ready": 0, "counters": {}, "query_log": {}, "processes": []}
    found = {family.name: family for family in node_families({**status, "by_worker": []})}
    assert found["schoolgate_policy_version"].samples[0].value == 0
