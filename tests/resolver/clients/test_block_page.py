"""The block page of a running node: every Host is sent to the portal's page, with its name and the client's group."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from resolver.clients.block_page import BlockPage
from tests.portal.gatehouse import free_port
from tests.resolver.fake_portal import District, FakePortal, base_of, until
from tests.resolver.node import Node, none_alive


@pytest.fixture
def portal() -> Iterator[FakePortal]:
    made = FakePortal(District())
    yield made
    made.stop()


def ask(port: int, host: str, method: str = "GET", path: str = "/", source: str = "127.0.0.1") -> tuple[int, str, str]:
    """Status, Location and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5, source_address=(source, 0))
    try:
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        assert answer.getheader("cache-control") == "no-store"
        return answer.status, answer.getheader("location") or "", answer.read().decode()
    finally:
        connection.close()


def test_every_host_and_path_is_sent_to_the_portal_s_page(tmp_path: Path, portal: FakePortal) -> None:
    node = Node(tmp_path / "state", portal)
    port = free_port()
    node.options = [f"--page={port}"]
    node.start()
    try:
        offer = portal.publish(1, base_of("instagram.com"))
        until(lambda: portal.acked(offer))
        assert ask(port, "www.instagram.com")[0] == 303  # what a worker answers by is known here too
        for host, method, path in (
            ("www.instagram.com", "GET", "/reel/1?x=y"),
            ("WWW.Instagram.com:80", "POST", "/api"),
            ("www.instagram.com.", "HEAD", "/"),
        ):
            status, where, body = ask(port, host, method, path)
            assert status == 303
            assert urlsplit(where).path == "/why"
            assert parse_qs(urlsplit(where).query)["name"] == ["www.instagram.com"]
            assert (body == "") == (method == "HEAD")
        status, where, _ = ask(port, "10.0.0.1")
        assert (status, "name=" in where) == (303, False)
        for pid in node.pids("block-page"):
            node.kill(pid)  # its socket stays with the supervisor: what comes meanwhile waits
        assert ask(port, "www.instagram.com")[0] == 303
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # a browser that begins with TLS
            assert not client.recv(100).startswith(b"\x16"), "no certificate is pretended"
    finally:
        children = node.pids("")
        node.stop()
        none_alive(children)


def test_before_the_first_policy_it_says_that_the_filter_is_starting(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    page = BlockPage(tmp_path)
    page.refresh()
    assert page.where("www.instagram.com", "127.0.0.1", "127.0.0.1") is None
