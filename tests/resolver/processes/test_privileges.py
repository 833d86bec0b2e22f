"""How a node starts: once, enrolled, with the rights it needs and no others, and on whatever disk is left to it."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.resolver.fake_portal import District, FakePortal, base_of, until
from tests.resolver.node import QUERY, ROOT, SCRIPT, Node, none_alive


@pytest.fixture
def portal() -> Iterator[FakePortal]:
    made = FakePortal(District())
    yield made
    made.stop()


@pytest.fixture
def node(tmp_path: Path, portal: FakePortal) -> Iterator[Node]:
    made = Node(tmp_path / "state", portal)
    yield made
    children = made.pids("")
    made.stop()
    none_alive(children)


def test_a_second_copy_is_refused_and_told_the_pid_of_the_first(node: Node) -> None:
    node.start()
    assert node.process is not None
    second = subprocess.run(node.command(), env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert second.returncode == 1
    assert f"already runs with {node.state} (pid {node.process.pid})" in second.stderr.decode()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("how", ["read-only", "full"])
def test_a_disk_that_takes_nothing_leaves_the_gate_enforcing_and_says_so(
    how: str, tmp_path: Path, portal: FakePortal
) -> None:
    (tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(tmp_path / "disk")]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this container may not mount")
    node = Node(tmp_path / "disk/state", portal, worker="real")
    node.log = tmp_path / "node.log"
    try:
        node.start()
        first = portal.publish(1)
        until(lambda: portal.acked(first))
        node.stop()
        for ring in (node.state / "rings").iterdir():
            ring.unlink()
        if how == "full":
            with contextlib.suppress(OSError), (tmp_path / "disk/filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(bytes(4096))
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
        node.start()
        portal.publish(2, base_of("tiktok.com"))
        until(lambda: portal.nacks)
        assert "the state folder cannot keep it" in portal.nacks[0]["reason"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.sendto(QUERY, ("127.0.0.1", node.port))
            assert client.recv(512)[3] & 15 == 3  # NXDOMAIN
        assert "serves without a query log" in node.log.read_text()
    finally:
        node.stop()
        subprocess.run(["umount", str(tmp_path / "disk")], check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_started_as_root_it_binds_first_and_serves_as_another_user(portal: FakePortal) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        node = Node(Path(folder, "state"), portal)
        node.options = ["--user=nobody"]
        node.start()
        try:
            assert {Path(f"/proc/{pid}").stat().st_uid for pid in node.pids("worker")} == {
                pwd.getpwnam("nobody").pw_uid
            }
            assert node.state.stat().st_uid == pwd.getpwnam("nobody").pw_uid
            (pid, _) = node.pids("worker")
            node.kill(pid)
            until(lambda: pid not in node.pids("worker") and node.status()["workers_ready"] == 2)
            assert node.served() == {None}
        finally:
            node.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a capability")
def test_with_the_capability_to_bind_it_binds_a_privileged_port_and_keeps_no_capability(portal: FakePortal) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        node = Node(Path(folder, "state"), portal)
        node.port = free_privileged_port()
        node.options = ["bind-only"]
        soft, hard = 64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        node.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)))
        try:
            assert node.process is not None
            for pid in (node.process.pid, *node.pids("")):
                status = Path(f"/proc/{pid}/status").read_text()
                assert re.findall(r"Cap(Inh|Prm|Eff|Amb):\s+(\w+)", status) == [
                    (name, "0" * 16) for name in ("Inh", "Prm", "Eff", "Amb")
                ]
                assert "NoNewPrivs:\t1" in status
            limits = Path(f"/proc/{node.pids('worker')[0]}/limits").read_text()
            assert re.search(rf"Max open files\s+{hard}\s+{hard}", limits), "the limit of a worker is raised"
            assert node.status()["files"] == hard
            (pid, _) = node.pids("worker")
            node.kill(pid)
            until(lambda: pid not in node.pids("worker") and node.status()["workers_ready"] == 2)
            assert node.served() == {None}
        finally:
            node.stop()


def free_privileged_port() -> int:
    for port in range(1023, 600, -1):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("every privileged port is taken")


def test_a_resolver_that_is_not_enrolled_says_what_to_do(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path / "state"), "0", "1", "9", "fake"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert done.returncode == 1
    assert "schoolgate node enroll" in done.stderr.decode()
