"""A request is approved, and the district's own BIND, Unbound and PowerDNS answer it too."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.accounts import REVIEWER, TEACHER
from tests.flows.district import District, district, free_port, until
from tests.flows.nameservers import PROGRAMS, NameServers, is_open, nameservers, program
from tests.flows.upstream import world

pytestmark = pytest.mark.slow
TOOL = "www.instagram.com"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[District, NameServers]]:
    missing = [name for name in PROGRAMS if program(name) is None]
    if missing:
        message = f"not installed: {', '.join(missing)}: apt-get install knot bind9 pdns-recursor unbound"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    folder = tmp_path_factory.mktemp("rpz")
    upstream = free_port()
    zones = folder / "zones"
    words = [sys.executable, "-m", "deploy.cli", "export", "rpz", str(zones), "--group", "edison/students"]
    with world(upstream), district(folder, upstream, workers=1) as school:
        words += ["--data", str(school.data)]
        subprocess.run(words, check=True, timeout=60)
        with nameservers(folder / "servers", zones, upstream) as found:
            with (folder / "watch.out").open("w") as out:
                watching = subprocess.Popen([*words, "--watch", "--reload", found.reload], stdout=out, stderr=out)
            try:
                yield school, found
            finally:
                watching.terminate()
                watching.wait(20)


def test_an_approval_and_its_revocation_reach_bind_unbound_and_powerdns(servers: tuple[District, NameServers]) -> None:
    school, found = servers
    ports = {"BIND": found.bind, "Unbound": found.unbound, "PowerDNS": found.powerdns}
    for name, port in ports.items():
        until(lambda port=port: is_open(port, "www.example.com"), 30, f"{name} to answer\n{found.said()}")
        until(lambda port=port: not is_open(port, TOOL), 30, f"{name} to block\n{found.said()}")
    with school.client(TEACHER, "requester") as teacher, school.client(REVIEWER, "reviewer") as reviewer:
        message = {"tools": [{"name": TOOL}], "purpose": "Photo essay on the river"}
        request = teacher.post("/requests", json=message).raise_for_status().json()
        decision = {"revision": request["revision"], "decision": "approve", "reason": "Fits the unit"}
        clicked = time.monotonic()
        reviewer.post(f"/requests/{request['id']}/decision", json=decision).raise_for_status()
        waiting = dict(ports)

        def all_open() -> bool:
            for name, port in tuple(waiting.items()):
                if is_open(port, TOOL):
                    print(f"{name}: open {time.monotonic() - clicked:.2f} s after the click")
                    del waiting[name]
            return not waiting

        until(all_open, 30, f"{sorted(waiting)} to open\n{found.said()}")
        for port in ports.values():
            assert not is_open(port, "www.tiktok.com")  # nobody asked for it
        sent = re.findall(r"allow\S+ IXFR, outgoing.* finished", (found.folder / "knot.log").read_text())
        assert len(sent) >= len(ports), found.said()
        assert "TSIG schoolgate-rpz" in (found.folder / "bind.log").read_text()
        number = next(one["id"] for one in reviewer.get("/grants").raise_for_status().json()["grants"])
        reviewer.post(f"/grants/{number}/revoke", json={"reason": "The lesson is over"}).raise_for_status()
    for name, port in ports.items():
        until(lambda port=port: not is_open(port, TOOL), 30, f"{name} to block again\n{found.said()}")


def test_a_transfer_without_the_key_is_refused_from_elsewhere(servers: tuple[District, NameServers]) -> None:
    _, found = servers
    command = f"kdig @127.0.0.1 -p {found.knot} -b 127.0.0.9 +tcp allow.edison-students.rpz AXFR"
    said = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=20, check=False)
    assert "NOTAUTH" in said.stdout + said.stderr
