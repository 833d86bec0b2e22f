"""Fetching from a real server that misbehaves in every way a server can: each ends as a value, the last good stays."""

from __future__ import annotations

import datetime
import gzip
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from blocklists.fetch import Failed, Failure, Fetcher, Fresh, Limits, Outcome, Reach, Unchanged
from blocklists.formats.detect import Format
from blocklists.formats.findings import BadList
from blocklists.inflate import HAS_ZSTD
from blocklists.parse import Parsed, parse, read_chunks, summarise
from blocklists.reach import is_public
from blocklists.shelf import Shelf
from tests.blocklists.hostile_server import Server, ok, raw, redirect, serving

LIST = b"one.example.com\ntwo.example.com\n"
MAX = 100_000
QUICK = Limits(connect=5, read=5, total=20, attempts=1)
HERE = Reach(allow_private=True, allow_http=True)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf")


def accept(path: Path) -> Parsed:
    return summarise(parse(read_chunks(path), Format.DOMAINS))


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


def fetcher(shelf: Shelf, reach: Reach = HERE, limits: Limits = QUICK, clock: Clock | None = None) -> Fetcher:
    clock = clock or Clock()
    return Fetcher(shelf, reach, limits, now=clock.now, sleep=clock.sleep, jitter=lambda: 0.0)


def get(shelf: Shelf, url: str, max_bytes: int = MAX) -> Outcome:
    return fetcher(shelf).fetch("sample", url, max_bytes, accept)


def failed(outcome: Outcome, code: Failure) -> Failed:
    assert isinstance(outcome, Failed), outcome
    assert outcome.code is code, outcome
    assert outcome.detail
    return outcome


def bytes_of(shelf: Shelf) -> bytes:
    kept = shelf.kept("sample")
    assert kept is not None
    return b"".join(shelf.read(kept))


def nothing_left(tmp_path: Path) -> bool:
    return not [path for path in tmp_path.rglob("*") if path.name.startswith(".new-")]


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
    zstandard = pytest.importorskip("zstandard")
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
HTML = b"<!DOCTYPE html><html><title>Sign in</title></html>"
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
    zstandard = pytest.importorskip("zstandard")
    server.answers["/x"] = ok(zstandard.compress(b"a" * 50_000_000), "Content-Encoding: zstd")
    failed(get(shelf, server.url("/x")), Failure.TOO_LARGE)


@pytest.mark.skipif(HAS_ZSTD, reason="zstd can be read here")
def test_zstd_is_not_asked_for_where_it_cannot_be_read(server: Server, shelf: Shelf) -> None:
    server.answers["/x"] = ok(LIST, "Content-Encoding: zstd")
    failed(get(shelf, server.url("/x")), Failure.BAD_ENCODING)
    assert server.asked[0].headers["accept-encoding"] == "gzip"


# ---- Where requests may go ----


@pytest.mark.parametrize("url", ["ftp://example.com/", "file:///etc/passwd", "javascript:1", "/list", "", "https://"])
def test_only_web_addresses_are_fetched(shelf: Shelf, url: str) -> None:
    outcome = get(shelf, url)
    assert isinstance(outcome, Failed)
    assert outcome.code in (Failure.NOT_HTTPS, Failure.BAD_ADDRESS)


def test_plain_http_is_refused_unless_allowed(server: Server, shelf: Shelf) -> None:
    reach = Reach(allow_private=True)
    outcome = fetcher(shelf, reach).fetch("sample", server.url("/list"), MAX, accept)
    failed(outcome, Failure.NOT_HTTPS)
    assert not server.asked


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"])
def test_this_machine_is_not_reached_unless_allowed_however_it_is_written(
    server: Server, shelf: Shelf, host: str
) -> None:
    reach = Reach(allow_http=True)
    outcome = fetcher(shelf, reach).fetch("sample", server.url("/list", host), MAX, accept)
    assert isinstance(outcome, Failed)
    assert outcome.code in (Failure.PRIVATE_ADDRESS, Failure.UNKNOWN_HOST)
    assert not server.asked


def test_a_name_with_one_private_address_among_public_ones_is_not_reached(server: Server, shelf: Shelf) -> None:
    reach = Reach(allow_http=True, resolve=lambda host, port: ["192.0.9.1", "8.8.8.8", "127.0.0.1"])
    outcome = fetcher(shelf, reach).fetch("sample", server.url("/list", "list.example"), MAX, accept)
    assert "127.0.0.1" in failed(outcome, Failure.PRIVATE_ADDRESS).detail
    assert not server.asked


def test_the_checked_address_is_the_one_connected_to(
    server: Server, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the first look-up is public, a second one would be this machine. There is no second one."""
    looked_up: list[str] = []
    connected: list[object] = []

    def resolve(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["8.8.8.8"] if len(looked_up) == 1 else ["127.0.0.1"]

    def connect(address: tuple[str, int], *arguments: object, **more: object) -> socket.socket:
        connected.append(address)
        raise OSError("nobody leaves this machine")

    monkeypatch.setattr(socket, "create_connection", connect)
    outcome = fetcher(shelf, Reach(allow_http=True, resolve=resolve)).fetch(
        "sample", server.url("/list", "list.example"), MAX, accept
    )
    failed(outcome, Failure.NO_CONNECTION)
    assert looked_up == ["list.example"]
    assert connected == [("8.8.8.8", server.port)]


def test_a_redirect_to_a_private_address_is_not_followed(server: Server, shelf: Shelf) -> None:
    """The first host counts as public here; the second look-up, after the redirect, finds the inside."""
    hosts = {"list.example": ["127.0.0.1"], "inside.example": ["10.0.0.1"]}
    server.answers["/list"] = redirect(server.url("/secret", "inside.example"))

    def resolve(host: str, port: int) -> list[str]:
        return hosts[host]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blocklists.reach.is_public", lambda address: address == "127.0.0.1" or is_public(address))
        outcome = fetcher(shelf, Reach(allow_http=True, resolve=resolve)).fetch(
            "sample", server.url("/list", "list.example"), MAX, accept
        )
    assert "10.0.0.1" in failed(outcome, Failure.PRIVATE_ADDRESS).detail
    assert [asked.path for asked in server.asked] == ["/list"]


def test_a_name_without_an_address_is_an_unknown_host(shelf: Shelf) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    outcome = fetcher(shelf, Reach(resolve=resolve)).fetch("sample", "https://nowhere.example/", MAX, accept)
    failed(outcome, Failure.UNKNOWN_HOST)


def test_the_next_address_is_tried_when_one_does_not_answer(server: Server, shelf: Shelf) -> None:
    server.answers["/list"] = ok(LIST)
    reach = Reach(allow_private=True, allow_http=True, resolve=lambda host, port: ["127.0.0.2", "127.0.0.1"])
    assert isinstance(fetcher(shelf, reach).fetch("sample", server.url("/list", "list.example"), MAX, accept), Fresh)
    assert server.asked[0].headers["host"] == f"list.example:{server.port}"


@pytest.mark.parametrize(
    "address",
    [
        *(
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.2.1",
            "192.168.0.1",
        ),
        *("224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1"),
        *("2002:0a00:0001::", "64:ff9b::10.0.0.1", "2001:db8::1", "2001::1", "nonsense", ""),
    ],
)
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_an_address_that_is_public(address: str) -> None:
    assert is_public(address)


def test_a_proxy_of_the_environment_is_not_used(server: Server, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.answers["/list"] = ok(LIST)
    assert isinstance(get(shelf, server.url("/list")), Fresh)


# ---- TLS ----


def certificate(folder: Path, name: str) -> Path:
    """A certificate for `name`, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.mark.parametrize(("name", "code"), [("list.example", None), ("other.example", Failure.NO_CONNECTION)])
def test_over_tls_the_name_is_checked_though_an_address_was_connected_to(
    shelf: Shelf, tmp_path: Path, name: str, code: Failure | None
) -> None:
    pem = certificate(tmp_path, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    trust = ssl.create_default_context(cafile=str(pem))
    with serving(context) as server:
        server.answers["/list"] = ok(LIST)
        reach = Reach(allow_private=True, resolve=lambda host, port: ["127.0.0.1"], tls=trust)
        outcome = fetcher(shelf, reach).fetch("sample", server.url("/list", "list.example", "https"), MAX, accept)
        if code is not None:
            failed(outcome, code)
            return
        assert isinstance(outcome, Fresh)
        assert server.asked[0].server_name == "list.example"
        assert server.asked[0].headers["host"] == f"list.example:{server.port}"


def test_a_certificate_that_nobody_vouches_for_is_no_connection(shelf: Shelf, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path, "list.example"))
    with serving(context) as server:
        reach = Reach(allow_private=True, resolve=lambda host, port: ["127.0.0.1"])
        outcome = fetcher(shelf, reach).fetch("sample", server.url("/list", "list.example", "https"), MAX, accept)
        failed(outcome, Failure.NO_CONNECTION)


def test_a_redirect_from_https_to_http_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    pem = certificate(tmp_path, "list.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    trust = ssl.create_default_context(cafile=str(pem))
    with serving(context) as server:
        server.answers["/list"] = redirect("http://list.example/list")
        reach = Reach(allow_private=True, resolve=lambda host, port: ["127.0.0.1"], tls=trust)
        outcome = fetcher(shelf, reach).fetch("sample", server.url("/list", "list.example", "https"), MAX, accept)
        failed(outcome, Failure.NOT_HTTPS)


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


# ---- Files and the shelf ----


def test_a_file_is_taken_by_the_same_rules(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_bytes(LIST)
    outcome = fetcher(shelf).take_file("sample", path, MAX, accept)
    assert isinstance(outcome, Fresh)
    assert bytes_of(shelf) == LIST
    path.write_bytes(HTML)
    failed(fetcher(shelf).take_file("sample", path, MAX, accept), Failure.NOT_A_LIST)
    failed(fetcher(shelf).take_file("sample", path, 10, accept), Failure.TOO_LARGE)
    failed(fetcher(shelf).take_file("sample", tmp_path / "absent.txt", MAX, accept), Failure.DISK)
    assert bytes_of(shelf) == LIST


def test_a_disk_that_takes_nothing_is_a_failure(server: Server, tmp_path: Path) -> None:
    (tmp_path / "shelf").write_text("a file where the folder should be")
    server.answers["/list"] = ok(LIST)
    failed(get(Shelf(tmp_path / "shelf"), server.url("/list")), Failure.DISK)


def test_only_the_newest_copy_stays_and_a_reader_of_the_old_one_is_not_disturbed(
    server: Server, shelf: Shelf, tmp_path: Path
) -> None:
    server.answers["/x"] = [ok(LIST * 20_000), ok(b"three.example.com\n")]
    first = get(shelf, server.url("/x"), 10_000_000)
    assert isinstance(first, Fresh)
    reading = shelf.read(first.kept)
    start = next(reading)
    assert isinstance(get(shelf, server.url("/x"), 10_000_000), Fresh)
    assert start + b"".join(reading) == LIST * 20_000
    assert len(list(tmp_path.rglob("*.list"))) == 1


@pytest.mark.parametrize("damage", ["{", "[]", '{"id": "sample"}', "null", '{"id": 3}', ""])
def test_a_damaged_description_counts_as_absent(server: Server, shelf: Shelf, tmp_path: Path, damage: str) -> None:
    server.answers["/list"] = ok(LIST)
    get(shelf, server.url("/list"))
    (tmp_path / "shelf" / "sample" / "current.json").write_text(damage)
    assert shelf.kept("sample") is None
    assert isinstance(get(shelf, server.url("/list")), Fresh)


def test_a_copy_whose_bytes_changed_on_disk_is_told_when_it_is_read(server: Server, shelf: Shelf) -> None:
    server.answers["/list"] = ok(LIST)
    outcome = get(shelf, server.url("/list"))
    assert isinstance(outcome, Fresh)
    path = shelf.path(outcome.kept)
    path.write_bytes(LIST.replace(b"one", b"two"))
    with pytest.raises(BadList, match="damaged"):
        bytes_of(shelf)
    path.write_bytes(b"")
    assert shelf.kept("sample") is None


def test_what_is_forgotten_is_gone(server: Server, shelf: Shelf, tmp_path: Path) -> None:
    server.answers["/list"] = ok(LIST)
    get(shelf, server.url("/list"))
    shelf.forget("sample")
    shelf.forget("sample")
    assert shelf.kept("sample") is None
    assert list((tmp_path / "shelf").iterdir()) == []


@pytest.mark.parametrize("id", ["../x", "", ".", "a/b", "A"])
def test_an_id_cannot_lead_out_of_the_shelf(shelf: Shelf, id: str) -> None:
    with pytest.raises(ValueError, match="cannot be the id"):
        shelf.forget(id)
