"""The nftables template, loaded in network namespaces of the test's own: a device, a router with the rules, a resolver.

device (10.20.9.2) -- lan0 router out0 (10.20.0.1) -- resolver (10.20.0.53, and 1.1.1.1 as the world)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TEMPLATE = Path(__file__).parent.parent.parent / "deploy" / "examples" / "nftables" / "schoolgate.nft"
PROGRAM = shutil.which("nft") or shutil.which("nft", path="/usr/sbin:/sbin")
IP = shutil.which("ip") or shutil.which("ip", path="/usr/sbin:/sbin")
TAG = f"sg{os.getpid() % 10_000}"
DEVICE, ROUTER, WORLD = (f"{TAG}{letter}" for letter in "drw")

# What answers in the world: the address that was asked, over UDP and TCP.
ECHO = """
import socket, selectors
chosen = selectors.DefaultSelector()
for port in (53, 443, 853):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("10.20.0.53" if port == 53 else "1.1.1.1", port))
    tcp = socket.create_server(("10.20.0.53" if port == 53 else "1.1.1.1", port))
    chosen.register(udp, 1); chosen.register(tcp, 1)
spare = socket.create_server(("1.1.1.1", 80)); chosen.register(spare, 1)
print("ready", flush=True)
while True:
    for key, _ in chosen.select():
        one = key.fileobj
        if one.type == socket.SOCK_DGRAM:
            data, peer = one.recvfrom(512); one.sendto(b"ours" + data, peer)
        else:
            open, _ = one.accept(); open.sendall(b"ours"); open.close()
"""
ASK = """
import socket, sys
kind, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
with socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as one:
    one.settimeout(5)
    try:
        one.connect((host, port))
        if kind == "udp":
            one.send(b"?")
        print(one.recv(100)[:4].decode())
    except (ConnectionRefusedError, ConnectionResetError):
        print("refused")
"""


def run(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=check)


def inside(space: str, *words: str) -> list[str]:
    return [str(IP), "netns", "exec", space, *words]


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    if PROGRAM is None or IP is None:
        pytest.skip("nft or ip is missing: apt-get install nftables iproute2")
    if run(IP, "netns", "add", ROUTER, check=False).returncode:
        pytest.skip("this user may not make a network namespace")
    echo: subprocess.Popen[str] | None = None
    try:
        run(IP, "netns", "add", DEVICE)
        run(IP, "netns", "add", WORLD)
        links = ((DEVICE, "eth0", "10.20.9.2/24", "lan0", "10.20.9.1/24"),)
        links += ((WORLD, "eth0", "10.20.0.53/24", "out0", "10.20.0.1/24"),)
        for space, name, address, other, gateway in links:
            run(IP, "-n", ROUTER, "link", "add", other, "type", "veth", "peer", "name", name, "netns", space)
            run(IP, "-n", space, "addr", "add", address, "dev", name)
            run(IP, "-n", ROUTER, "addr", "add", gateway, "dev", other)
            for where, device in ((space, name), (space, "lo"), (ROUTER, other)):
                run(IP, "-n", where, "link", "set", device, "up")
            run(IP, "-n", space, "route", "add", "default", "via", gateway.partition("/")[0])
        run(IP, "-n", WORLD, "addr", "add", "1.1.1.1/32", "dev", "lo")
        run(IP, "-n", ROUTER, "route", "add", "1.1.1.1/32", "via", "10.20.0.53")
        run(*inside(ROUTER, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"))
        loaded = run(*inside(ROUTER, PROGRAM, "-f", str(TEMPLATE)), check=False)
        if "not permitted" in loaded.stderr or "not supported" in loaded.stderr.lower():
            pytest.skip(f"this kernel loads no such rules: {loaded.stderr.strip()[:200]}")
        assert loaded.returncode == 0, loaded.stderr
        echo = subprocess.Popen(inside(WORLD, sys.executable, "-c", ECHO), stdout=subprocess.PIPE, text=True)
        assert echo.stdout is not None
        assert echo.stdout.readline() == "ready\n"
        yield
    finally:
        if echo is not None:
            echo.kill()
            echo.wait()
            assert echo.stdout is not None
            echo.stdout.close()
        for space in (DEVICE, ROUTER, WORLD):
            run(IP, "netns", "del", space, check=False)


def ask(kind: str, host: str, port: int) -> str:
    return run(*inside(DEVICE, sys.executable, "-c", ASK, kind, host, str(port))).stdout.strip()


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_question_to_another_resolver_comes_to_ours(network: None, kind: str) -> None:
    assert ask(kind, "10.20.0.53", 53) == "ours"
    assert ask(kind, "1.1.1.1", 53) == "ours", "nobody listens on port 53 there: it was ours that answered"


@pytest.mark.parametrize("kind", ["udp", "tcp"])
@pytest.mark.parametrize("port", [853, 443])
def test_encrypted_resolvers_are_refused_at_once(network: None, kind: str, port: int) -> None:
    assert ask(kind, "1.1.1.1", port) == "refused"


def test_other_traffic_passes(network: None) -> None:
    assert ask("tcp", "1.1.1.1", 80) == "ours"
