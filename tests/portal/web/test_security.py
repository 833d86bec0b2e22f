"""What holds for every answer: Host, size, headers, HEAD, and errors in one shape."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from portal.errors import Conflict, FieldError, Invalid
from portal.web import problems
from portal.web.security import Guard, host_of


class Body(BaseModel):
    names: list[int]


def app() -> FastAPI:
    made = FastAPI(openapi_url=None)
    made.add_middleware(Guard, hosts=["127.0.0.1:8080", "gate.example.org", "[::1]:8080"])

    @made.get("/hello")
    def hello() -> str:
        return "hello"

    @made.get("/kept")
    def kept() -> Response:
        return PlainTextResponse("x", headers={"Cache-Control": "max-age=60"})

    @made.get("/stream")
    async def stream() -> StreamingResponse:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x"
                await asyncio.sleep(0)

        return StreamingResponse(endless())

    @made.post("/api/body")
    async def body(request: Request) -> int:
        return len(await request.body())

    @made.post("/api/json")
    def typed(body: Body) -> int:
        return len(body.names)

    @made.get("/api/conflict")
    @made.get("/conflict")
    def conflict() -> None:
        raise Conflict("Rosa Diaz approved this.")

    @made.get("/api/invalid")
    def invalid() -> None:
        raise Invalid("Mend it.", (FieldError("tools[0].name", "write a name"),))

    @made.get("/api/bug")
    @made.get("/bug")
    def bug() -> None:
        raise RuntimeError("secret of the database")

    problems.install(made)
    return made


class Client:
    """Plain calls on the application, in this process."""

    def __init__(self) -> None:
        self._app = app()

    def __call__(self, method: str, path: str, **words: Any) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://gate.example.org") as client:
                return await client.request(method, path, **words)

        return asyncio.run(call())


@pytest.fixture(scope="module")
def call() -> Client:
    return Client()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("gate.example.org", 200),
        ("GATE.example.org.:8080", 200),
        ("127.0.0.1", 200),
        ("[::1]:9", 200),
        ("evil.example", 421),
        ("gate.example.org.evil.example", 421),
        ("evil.example:gate.example.org", 421),
        ("", 421),
    ],
)
def test_only_known_hosts_are_answered(call: Client, host: str, status: int) -> None:
    answer = call("GET", "/hello", headers={"Host": host})
    assert answer.status_code == status
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@given(st.text(max_size=60))
def test_any_host_header_is_read(text: str) -> None:
    assert isinstance(host_of(text), str)


def test_every_answer_has_the_headers_and_nothing_inline_is_allowed(call: Client) -> None:
    for path in ("/hello", "/missing", "/api/bug", "/conflict"):
        headers = call("GET", path).headers
        assert "unsafe" not in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert call("GET", "/hello").headers["cache-control"] == "no-store"
    assert call("GET", "/kept").headers["cache-control"] == "max-age=60"


def test_head_is_get_without_the_body_also_of_an_endless_stream(call: Client) -> None:
    answer = call("HEAD", "/hello")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "7"
    assert call("HEAD", "/missing").status_code == 404


def test_a_body_over_the_limit_is_refused_with_and_without_its_length(call: Client) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(100_000)

    assert call("POST", "/api/body", content=bytes(1024 * 1024)).json() == 1024 * 1024
    assert call("POST", "/api/body", content=bytes(1024 * 1024 + 1)).status_code == 413
    assert call("POST", "/api/body", content=chunks()).status_code == 413
    assert call("POST", "/api/json", content=chunks(), headers={"Content-Type": "application/json"}).status_code == 413
    for length in ("-1", "9" * 18, "9" * 5_000):
        answer = call("POST", "/api/body", content=b"", headers={"Content-Length": length})
        assert answer.status_code == 413
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_portal_whose_address_is_https_tells_browsers_to_stay_with_it() -> None:
    for https in (True, False):

        async def ask(https: bool = https) -> httpx.Response:
            transport = httpx.ASGITransport(Guard(app(), ["gate.example.org"], https=https))
            async with httpx.AsyncClient(transport=transport, base_url="http://gate.example.org") as client:
                return await client.get("/hello")

        assert ("strict-transport-security" in asyncio.run(ask()).headers) is https


def test_errors_for_programs_are_problems_with_fields(call: Client) -> None:
    answer = call("GET", "/api/invalid", headers={"Accept": "text/html"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Something needs mending",
        "status": 422,
        "detail": "Mend it.",
        "errors": [{"field": "tools[0].name", "message": "write a name"}],
    }
    assert call("POST", "/api/json", json={"names": [1, "x"]}).json()["errors"][0]["field"] == "names[1]"
    assert call("POST", "/api/json", content=b"{").status_code == 422
    assert call("GET", "/api/nothing").json()["status"] == 404
    assert call("PUT", "/hello").headers["allow"] == "GET"


def test_errors_for_people_are_pages_or_plain_words(call: Client) -> None:
    answer = call("GET", "/conflict", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"]) == (409, "text/plain; charset=utf-8")
    assert "Rosa Diaz approved this." in answer.text


@pytest.mark.parametrize("path", ["/api/bug", "/bug"])
def test_a_bug_is_answered_with_a_number_and_nothing_of_its_insides(
    call: Client, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = call("GET", path, headers={"Accept": "text/html"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    number = next(record.args[0] for record in caplog.records if record.name == "portal.web.problems" and record.args)  # type: ignore[index]
    assert str(number) in answer.text
