"""Settings read again: taken, refused, or partly left for a restart; and a running node that takes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest

from resolver.config import Endpoint, Forward, ResolverConfig
from resolver.delivery.enrolment import enrol
from resolver.processes.control import NotRunning, ask
from resolver.processes.rereading import renewed
from tests.flows.district import free_port
from tests.resolver.fake_portal import District, FakePortal, until

CONFIG = ResolverConfig((Endpoint("127.0.0.1", 5300),), (Endpoint("127.0.0.1", 53),), Path("state"), workers=2)


def raising(error: Exception) -> Callable[[], ResolverConfig]:
    def read() -> ResolverConfig:
        raise error

    return read


def test_what_can_change_while_it_runs_is_taken() -> None:
    wanted = replace(CONFIG, max_ttl=100, upstreams=(Endpoint("127.0.0.2", 53),))
    assert renewed(CONFIG, lambda: wanted) == (wanted, "")


def test_what_takes_a_restart_stays_and_is_named() -> None:
    wanted = replace(CONFIG, max_ttl=100, workers=8, user="nobody")
    assert renewed(CONFIG, lambda: wanted) == (
        replace(CONFIG, max_ttl=100),
        "settings that take a restart were changed: workers, user",
    )


@pytest.mark.parametrize("error", [ValueError("one\ntwo"), PermissionError(13, "Permission denied")])
def test_a_mistake_changes_nothing_and_is_said(error: Exception) -> None:
    config, said = renewed(CONFIG, raising(error))
    assert config is CONFIG and "refused" in said and "\n" not in said


def test_an_upstream_that_is_ourselves_is_refused_while_it_runs_too() -> None:
    wanted = replace(CONFIG, upstreams=(Endpoint("127.0.0.1", 5300),))
    config, said = renewed(CONFIG, lambda: wanted, (Endpoint("0.0.0.0", 5300),))
    assert config is CONFIG and "is this resolver itself" in said


def test_a_forwarded_zone_that_asks_ourselves_is_refused_too() -> None:
    wanted = replace(CONFIG, forward=(Forward(b"\4corp\0", (Endpoint("127.0.0.1", 5300),)),))
    config, said = renewed(CONFIG, lambda: wanted, CONFIG.listen)
    assert config is CONFIG and "is this resolver itself" in said
    elsewhere = replace(CONFIG, forward=(Forward(b"\4corp\0", (Endpoint("127.0.0.1", 5301),)),))
    assert renewed(CONFIG, lambda: elsewhere, CONFIG.listen) == (elsewhere, "")


def test_a_running_node_takes_new_settings_without_a_restart_and_refuses_wrong_ones(tmp_path: Path) -> None:
    portal = FakePortal(District())
    state = tmp_path / "node"
    enrol(portal.url, portal.token, "edison", ["edison"], state)
    file = tmp_path / "schoolgate.toml"
    settings = f'''
data = "{tmp_path}"
[resolver]
listen = ["127.0.0.1:{free_port()}"]
upstreams = ["127.0.0.1:9"]
workers = 2
local = ["print.district.example A 10.20.0.9"]
'''
    file.write_text(settings)
    command = [sys.executable, "-m", "deploy.cli", "resolver", "--config", str(file)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[3], stderr=subprocess.PIPE) as node:
        try:
            offer = portal.publish(1)
            until(lambda: portal.acked(offer), 60)
            before = workers(state)
            assert address_of("print.district.example", state) == "10.20.0.9"
            file.write_text(settings + "max_ttl = 1\n")
            node.send_signal(signal.SIGHUP)
            until(lambda: "max_ttl" in status(state)["last_error"])
            file.write_text(settings.replace("workers = 2", "workers = 3") + "max_ttl = 100\n")
            node.send_signal(signal.SIGHUP)
            until(lambda: "take a restart were changed: workers" in status(state)["last_error"])
            until(lambda: len(workers(state)) == 2 and not before & workers(state))
            file.write_text(settings.replace("10.20.0.9", "10.20.0.10"))
            node.send_signal(signal.SIGHUP)
            until(lambda: address_of("print.district.example", state) == "10.20.0.10")
            until(lambda: "restart" not in status(state)["last_error"])
        finally:
            os.kill(node.pid, signal.SIGTERM)
    portal.stop()
    assert node.returncode == 0


def address_of(name: str, state: Path) -> str:
    """What the node answers with; a datagram may be lost while a worker is replaced."""
    host, _, port = str(status(state)["listening"][0]).rpartition(":")  # type: ignore[index]
    try:
        found = dns.query.udp(dns.message.make_query(name, "A"), host, port=int(port), timeout=2)
    except dns.exception.Timeout:
        return ""
    return str(found.answer[0][0]) if found.answer else ""


def status(state: Path) -> dict[str, object]:
    try:
        return ask(state, {"do": "status"})
    except NotRunning:
        return {"last_error": "", "processes": []}


def workers(state: Path) -> set[int]:
    return {one["pid"] for one in status(state)["processes"] if one["name"].startswith("worker")}  # type: ignore[index, attr-defined]
