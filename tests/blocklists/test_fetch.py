"""Fetching from a real server that misbehaves in every way a server can: each ends as a value, the last good stays."""

from __future__ import annotations

import gzip
import socket
from pathlib import Path

import pytest
import zstandard

from blocklists.base import ListKind
from blocklists.compile import Source, compile_base
from blocklists.fetch import Failed, Failure, Fresh, Limits, Unchanged
from blocklists.formats.detect import Format
from blocklists.formats.findings import BadList
from blocklists.parse import Intake, Parsed, parse, read_chunks, summarise
from blocklists.shelf import Shelf
from tests.blocklists.fetching import (
    HTML,
    LIST,
    MAX,
    Clock,
    accept,
    bytes_of,
    failed,
    fetcher,
    get,
    nothing_left,
)
from tests.blocklists.hostile_server import Server, ok, raw, redirect
from tests.support import open_base

# ---- Good answers ----


def test_a_list_is_fetched_parsed_and_kept(server: Server, shelf: Shelf, tmp_path: Path) -> None:
    server.answers["/list"] = ok(LIST, 'ETag: "one"', "Last-Modified: Tue, 14 Nov 2023 00:00:00 GMT")
    outcome = get(shelf, server.url("/list"))
    assert isinstance(outcome, Fresh)
    assert outcome.parsed.found == 2
    assert bytes_of(shelf) == LIST
    assert (outcome.kept.etag, outcome.kept.fetched_at) == ('"one"', 1_700_000_000.0)
    assert shelf.kept("sample") == outcome.kept
    assert nothing_left(tmp_path)


def test_the_next_fetch_asks_only_for_something_newer(server: Server, shelf: Shelf) -> None:
    modified = "Tue, 14 Nov 2023 00:00:00 GMT"
    server.answers["/list"] = [
        ok(LIST, 'ETag: "one"', f"Last-Modified: {modified}"),
        raw(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    ]
    clock = Clock()
    one = fetcher(shelf, clock=clock)
    first = one.fetch("sample", server.url("/list"), MAX, accept)
    assert isinstance(first, Fresh)
    clock.time += 3600
    second = one.fetch("sample", server.url("/list"), MAX, accept)
    assert isinstance(second, Unchanged)
    assert server.asked[1].headers["if-none-match"] == '"one"'
    assert server.asked[1].headers["if-modified-since"] == modified
    assert second.kept.fetched_at == first.kept.fetched_at
    assert second.kept.age(clock.time) == 0
    assert first.kept.age(clock.time) == 3600
    assert shelf.kept("sample") == second.kept


def test_the_same_bytes_without_a_304_are_unchanged_too(server: Server, shelf: Shelf) -> None:
    server.answers["/list"] = ok(LIST)
    assert isinstance(get(shelf, server.url("/list")), Fresh)
    assert isinstance(get(shelf, server.url("/list")), Unchanged)


def test_another_address_is_not_asked_with_the_old_ones_etag(server: Server, shelf: Shelf) -> None:
    server.answers |= {"/list": ok(LIST, 'ETag: "one"'), "/new": ok(LIST + b"three.example.com\n")}
    get(shelf, server.url("/list"))
    assert isinstance(get(shelf, server.url("/new")), Fresh)
    assert "if-none-match" not in server.asked[1].headers


def test_a_304_that_nobody_asked_for_is_a_failure(server: Server, shelf: Shelf) -> None:
    server.answers["/list"] = raw(b"HTTP/1.1 304 Not Modified\r\n\r\n")
    assert failed(get(shelf, server.url("/list")), Failure.HTTP_STATUS).status == 304


def test_an_etag_that_could_not_be_sent_back_is_not_kept(server: Server, shelf: Shelf) -> None:
    server.answers["/list"] = ok(LIST, "ETag: " + "x" * 5000)
    outcome = get(shelf, server.url("/list"))
    assert isinstance(outcome, Fresh)
    assert outcome.kept.etag == ""


@pytest.mark.parametrize("members", [1, 2])
def test_a_gzip_answer_is_inflated(server: Server, shelf: Shelf, members: int) -> None:
    pieces = [LIST] if members == 1 else [LIST[:10], LIST[10:]]
    body = b"".join(gzip.compress(piece) for piece in pieces)
    server.answers["/list"] = ok(body, "Content-Encoding: gzip")
    assert isinstance(get(shelf, server.url("/list")), Fresh)
    assert bytes_of(shelf) == LIST
    assert "gzip" in server.asked[0].headers["accept-encoding"]


def test_a_zstd_answer_is_inflated(server: Server, shelf: Shelf) -> None:
    server.answers["/list"] = ok(zstandard.compress(LIST), "Content-Encoding: zstd")
    assert isinstance(get(shelf, server.url("/list")), Fresh)
    assert bytes_of(shelf) == LIST


def test_a_chunked_answer_is_read(server: Server, shelf: Shelf) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.answers["/list"] = raw(head, b"%x\r\n%s\r\n" % (len(LIST), LIST), b"0\r\n\r\n")
    assert isinstance(get(shelf, server.url("/list")), Fresh)


def test_redirects_are_followed(server: Server, shelf: Shelf) -> None:
    server.answers |= {"/a": redirect("/b", 301), "/b": redirect(server.url("/list"), 307), "/list": ok(LIST)}
    outcome = get(shelf, server.url("/a"))
    assert isinstance(outcome, Fresh)
    assert outcome.kept.url == server.url("/a")


def test_no_cookie_comes_back(server: Server, shelf: Shelf) -> None:
    server.answers |= {
        "/a": ok(b"", "Location: /list", "Set-Cookie: a=1; Path=/", status="302 Found"),
        "/list": ok(LIST),
    }
    assert isinstance(get(shelf, server.url("/a")), Fresh)
    assert all("cookie" not in asked.headers for asked in server.asked)


# ---- Bad answers ----

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SQUEEZED = gzip.compress(b"".join(b"host%d.example.com\n" % number for number in range(2000)))
MISBEHAVIOUR = {
    "not found": (ok(b"gone", status="404 Not Found"), Failure.HTTP_STATUS),
    "forbidden": (ok(b"", status="403 Forbidden"), Failure.HTTP_STATUS),
    "no content": (raw(b"HTTP/1.1 204 No Content\r\n\r\n"), Failure.HTTP_STATUS),
    "partial content": (ok(LIST, status="206 Partial Content"), Failure.HTTP_STATUS),
    "broken": (ok(b"", status="500 Oops"), Failure.BUSY),
    "too many requests": (ok(b"", status="429 Slow down"), Failure.BUSY),
    "empty": (ok(b""), Failure.NOT_A_LIST),
    "a web page": (ok(HTML), Failure.NOT_A_LIST),
    "a squeezed web page": (ok(gzip.compress(HTML), "Content-Encoding: gzip"), Failure.NOT_A_LIST),
    "json": (ok(b'{"error": "gone"}'), Failure.NOT_A_LIST),
    "longer than it says": (ok(LIST * 2, length=len(LIST) * 3), Failure.CUT_SHORT),
    "cut in a chunk": (raw(CHUNKED, b"ff\r\none.exa"), Failure.CUT_SHORT),
    "no last chunk": (raw(CHUNKED, b"%x\r\n%s\r\n" % (len(LIST), LIST)), Failure.CUT_SHORT),
    "chunk size nonsense": (raw(CHUNKED, b"zz\r\n\r\n"), Failure.BAD_ANSWER),
    "not http": (raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), Failure.BAD_ANSWER),
    "silence": (raw(), Failure.BAD_ANSWER),
    "endless header": (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2_000_000), Failure.BAD_ANSWER),
    "too large, and says so": (ok(b"", length=MAX + 1), Failure.TOO_LARGE),
    "too large, silently": (raw(b"HTTP/1.1 200 OK\r\n\r\n", b"one.example.com\n" * (MAX // 8)), Failure.TOO_LARGE),
    "gzip cut short": (ok(SQUEEZED[:-20], "Content-Encoding: gzip"), Failure.CUT_SHORT),
    "gzip damaged": (ok(SQUEEZED[:50] + b"\xff" * 50 + SQUEEZED[100:], "Content-Encoding: gzip"), Failure.BAD_ENCODING),
    "gzip that is none": (ok(LIST, "Content-Encoding: gzip"), Failure.BAD_ENCODING),
    "a gzip bomb": (ok(gzip.compress(b"a.example.com\n" * 10_000_000, 1), "Content-Encoding: gzip"), Failure.TOO_LARGE),
    "another coding": (ok(LIST, "Content-Encoding: br"), Failure.BAD_ENCODING),
    "two codings": (ok(LIST, "Content-Encoding: gzip, gzip"), Failure.BAD_ENCODING),
    "redirect nowhere": (raw(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), Failure.REDIRECTS),
    "redirect to nonsense": (redirect("http://[:::/"), Failure.REDIRECTS),
    "redirect to a file": (redirect("file:///etc/passwd"), Failure.NOT_HTTPS),
    "redirect in a circle": (redirect("/x"), Failure.REDIRECTS),
    "redirect with a password": (redirect("http://user:secret@127.0.0.1/"), Failure.BAD_ADDRESS),
}


@pytest.mark.parametrize(("answer", "code"), MISBEHAVIOUR.values(), ids=MISBEHAVIOUR.keys())
def test_a_bad_answer_is_a_failure_and_the_last_good_stays(
    server: Server, shelf: Shelf, tmp_path: Path, answer: object, code: Failure
) -> None:
    server.answers["/x"] = [ok(LIST), answer]  # type: ignore[list-item]
    good = get(shelf, server.url("/x"))
    assert isinstance(good, Fresh)
    outcome = failed(get(shelf, server.url("/x")), code)
    assert outcome.kept == good.kept == shelf.kept("sample")
    assert bytes_of(shelf) == LIST
    assert nothing_left(tmp_path)


def test_a_server_that_says_nothing_times_out(server: Server, shelf: Shelf) -> None:
    server.answers["/x"] = server.hang
    limits = Limits(connect=5, read=0.1, total=20, attempts=1)
    failed(fetcher(shelf, limits=limits).fetch("sample", server.url("/x"), MAX, accept), Failure.TIMEOUT)


@pytest.mark.parametrize(
    ("head", "piece"),
    [(b"HTTP/1.1 200 OK\r\n\r\n", b"a"), (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), (b"", b"H")],
    ids=["body", "headers", "status"],
)
def test_a_server_that_drips_is_left_at_the_deadline(server: Server, shelf: Shelf, head: bytes, piece: bytes) -> None:
    server.answers["/x"] = server.drip(head, piece)
    limits = Limits(connect=5, read=5, total=0.3, attempts=1)
    outcome = fetcher(shelf, limits=limits).fetch("sample", server.url("/x"), MAX, accept)
    assert isinstance(outcome, Failed)
    assert outcome.code in (Failure.TIMEOUT, Failure.BAD_ANSWER)  # h11 gives up on a status line of "HHHH…" itself


def test_a_port_where_nobody_listens_is_no_connection(shelf: Shelf) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    failed(get(shelf, f"http://127.0.0.1:{port}/"), Failure.NO_CONNECTION)


def test_a_list_that_is_not_believed_leaves_the_old_one(server: Server, shelf: Shelf) -> None:
    server.answers["/x"] = [ok(LIST), ok(b"three.example.com\n")]
    get(shelf, server.url("/x"))

    def strict(path: Path) -> Parsed:
        raise BadList("it has 1 name; fewer than 2 are not this list")

    outcome = fetcher(shelf).fetch("sample", server.url("/x"), MAX, strict)
    assert "fewer than 2" in failed(outcome, Failure.NOT_A_LIST).detail
    assert bytes_of(shelf) == LIST


def test_a_zstd_bomb_stops_at_the_limit(server: Server, shelf: Shelf) -> None:
    server.answers["/x"] = ok(zstandard.compress(b"a" * 50_000_000), "Content-Encoding: zstd")
    failed(get(shelf, server.url("/x")), Failure.TOO_LARGE)


# ---- Trying again ----


def test_a_passing_failure_is_tried_again_with_growing_pauses(server: Server, shelf: Shelf) -> None:
    server.answers["/x"] = [ok(b"", status="500 Oops"), raw(), ok(LIST)]
    clock = Clock()
    outcome = fetcher(shelf, limits=Limits(attempts=3, first_wait=2), clock=clock).fetch(
        "sample", server.url("/x"), MAX, accept
    )
    assert isinstance(outcome, Fresh)
    assert clock.slept == [2, 8]


def test_after_the_last_attempt_the_failure_says_how_many_there_were(server: Server, shelf: Shelf) -> None:
    server.answers["/x"] = ok(b"", status="502 Bad gateway")
    clock = Clock()
    outcome = fetcher(shelf, limits=Limits(attempts=4, first_wait=2, longest_wait=10), clock=clock).fetch(
        "sample", server.url("/x"), MAX, accept
    )
    assert (failed(outcome, Failure.BUSY).attempts, clock.slept) == (4, [2, 8, 10])


def test_what_will_not_pass_is_not_tried_again(server: Server, shelf: Shelf) -> None:
    server.answers["/x"] = ok(b"", status="404 Not Found")
    clock = Clock()
    outcome = fetcher(shelf, limits=Limits(attempts=5), clock=clock).fetch("sample", server.url("/x"), MAX, accept)
    assert failed(outcome, Failure.HTTP_STATUS).attempts == 1
    assert clock.slept == []


@pytest.mark.parametrize("after", ["30", "Tue, 14 Nov 2023 22:13:50 GMT"])
def test_a_server_that_asks_for_a_pause_gets_it(server: Server, shelf: Shelf, after: str) -> None:
    server.answers["/x"] = [ok(b"", f"Retry-After: {after}", status="429 Slow down"), ok(LIST)]
    clock = Clock()
    outcome = fetcher(shelf, limits=Limits(attempts=2), clock=clock).fetch("sample", server.url("/x"), MAX, accept)
    assert isinstance(outcome, Fresh)
    assert clock.slept == [30]


def test_a_long_pause_is_told_instead_of_slept(server: Server, shelf: Shelf) -> None:
    server.answers["/x"] = ok(b"", "Retry-After: 7200", status="503 Later")
    clock = Clock()
    outcome = fetcher(shelf, limits=Limits(attempts=3), clock=clock).fetch("sample", server.url("/x"), MAX, accept)
    assert failed(outcome, Failure.BUSY).retry_after == 7200
    assert clock.slept == []


@pytest.mark.parametrize("after", ["soon", "-1", "9" * 40, "Tue, 99 Nov", "\xb2"])
def test_a_pause_that_cannot_be_read_is_none(server: Server, shelf: Shelf, after: str) -> None:
    server.answers["/x"] = ok(b"", f"Retry-After: {after}", status="503 Later")
    assert failed(get(shelf, server.url("/x")), Failure.BUSY).retry_after is None


# ---- The whole way ----


def test_from_the_server_to_a_base_in_which_an_exception_subtracts_from_its_own_list_only(
    server: Server, shelf: Shelf
) -> None:
    server.answers["/list"] = ok(b"||site.example.com^\n@@||edu.site.example.com^\n||com^\n")

    def adblock(path: Path) -> Parsed:
        return summarise(parse(read_chunks(path), Format.ADBLOCK))

    outcome = fetcher(shelf).fetch("sample", server.url("/list"), MAX, adblock)
    assert isinstance(outcome, Fresh)
    intake = Intake(parse(shelf.read(outcome.kept), Format.ADBLOCK))
    base = open_base(
        compile_base(
            [
                Source("sample", "Sample", "social-media", ListKind.LIST, intake.names(), intake.exceptions),
                Source("other", "Other", "adult", ListKind.LIST, ["edu.site.example.com"]),
            ]
        )
    )
    assert [base.lists[one.list].id for one in base.listings("www.site.example.com")] == ["sample"]
    assert [base.lists[one.list].id for one in base.listings("www.edu.site.example.com")] == ["other"]
    assert intake.parsed() == outcome.parsed
    assert outcome.parsed.rejected == 1
