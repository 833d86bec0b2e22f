"""Lists: every format's edge cases, hostile bytes, and what is no list at all."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from publicsuffixlist import PublicSuffixList

from blocklists import names, parse
from blocklists.formats import archive, findings, v2fly
from blocklists.formats.detect import Format, detect
from blocklists.formats.findings import MAX_LINE, BadList, Excepted, Found, Rejected
from blocklists.formats.lines import split
from blocklists.names import BadName
from blocklists.parse import Intake, summarise
from tests.blocklists.list_dumps import FOLDER, SAMPLES, UT1, compiled, dump, dump_sample, findings_of, format_of

LINE_FORMATS = [format for format in Format if format is not Format.UT1]
SYNTAX = st.sampled_from(
    [
        b"|",
        b"a" * 64,
        *b'0.0.0.0 |||^|@@|$important|address=/|/| CNAME .|*.|$ORIGIN |(|)|"|;|#|include:|full:| @ads|'
        b"example.com|com|xn--|\r|\0|\xff|b\xc3\xbccher.example|@ SOA |rpz-ip|.| |\t".split(b"|"),
    ]
)
LINES = st.lists(SYNTAX, max_size=8).map(b"".join)


def read(text: str | bytes, format: Format | None = None, **more: object) -> str:
    data = text.encode() if isinstance(text, str) else text
    return dump(parse.parse((data,), format, **more))  # type: ignore[arg-type]


def tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as found:
        for name, data in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(data)
            found.addfile(info, io.BytesIO(data))
    return out.getvalue()


# ---- Formats ----


@pytest.mark.parametrize("path", [*SAMPLES, UT1], ids=lambda path: path.stem)
def test_a_sample_list_and_its_base_say_what_their_golden_dumps_say(path: Path) -> None:
    assert dump_sample(path) == path.with_suffix(".golden").read_text(encoding="utf-8")
    assert compiled(findings_of(path)) == path.with_suffix(".base").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_where_the_bytes_are_cut_into_chunks_changes_nothing(path: Path, size: int) -> None:
    data = path.read_bytes()
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    format = format_of(path)
    assert dump(parse.parse(chunks, format)) == dump(parse.parse((data,), format))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_windows_line_ends_and_a_byte_order_mark_change_nothing(path: Path) -> None:
    data = path.read_bytes()
    format = format_of(path)
    marked = b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")
    assert dump(parse.parse((marked,), format)) == dump(parse.parse((data,), format))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_gzip_file_of_a_list_is_the_list(path: Path) -> None:
    format = format_of(path)
    packed = gzip.compress(path.read_bytes())
    assert dump(parse.parse((packed,), format)) == dump(parse.parse((path.read_bytes(),), format))


def test_a_ut1_archive_gives_the_names_of_its_domains_files_and_says_that_urls_are_left_out() -> None:
    data = tar(
        social_networks__domains=b"one.example.com\nTWO.example.com\ncom\n",
        social_networks__urls=b"example.org/path\n",
        social_networks__usage=b"black\n",
    )
    assert read(data).splitlines() == [
        "+ one.example.com",
        "+ two.example.com",
        "! 3: com — this is a whole top-level domain or a single word; a list names sites",
        "! 0: social_networks/urls — this file is about addresses of pages; DNS carries names only",
    ]


def test_an_archive_need_not_be_compressed() -> None:
    packed = tar(adult__domains=b"one.example.com\n")
    assert read(gzip.decompress(packed)) == read(packed) == "+ one.example.com\n"
    with pytest.raises(BadList, match="this is an archive"):
        read(gzip.decompress(packed), Format.HOSTS)


def test_links_and_folders_in_an_archive_are_not_followed() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as found:
        for type, name in (
            (tarfile.SYMTYPE, "a/domains"),
            (tarfile.LNKTYPE, "b/domains"),
            (tarfile.DIRTYPE, "domains"),
        ):
            info = tarfile.TarInfo(name)
            info.type = type
            info.linkname = "/etc/hostname"
            found.addfile(info)
    with pytest.raises(BadList, match="no file named “domains”"):
        read(out.getvalue(), Format.UT1)


@pytest.mark.parametrize("cut", [1, 10, 40, -1, -9])
def test_an_archive_that_is_cut_short_is_refused(cut: int) -> None:
    data = tar(x__domains=b"".join(b"host%d.example.com\n" % number for number in range(500)))
    with pytest.raises(BadList):
        read(data[:cut], Format.UT1)


def test_an_archive_within_which_the_file_ends_early_is_refused() -> None:
    whole = gzip.decompress(tar(x__domains=b"one.example.com\n" * 200))
    with pytest.raises(BadList, match="cannot be read"):
        read(gzip.compress(whole[:1500]), Format.UT1)


def test_bytes_that_are_no_archive_are_refused_as_ut1() -> None:
    with pytest.raises(BadList):
        read("one.example.com\n", Format.UT1)


def test_a_bomb_in_an_archive_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 1_000_000)
    with pytest.raises(BadList, match="inflates to more than 1,000,000"):
        read(tar(x__domains=b"#" * 2_000_000), Format.UT1)


def test_an_archive_with_too_many_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    with pytest.raises(BadList, match="more than 2 files"):
        read(tar(a=b"", b=b"", c=b""), Format.UT1)


def test_a_member_of_a_v2fly_collection_is_read_with_what_it_includes() -> None:
    data = tar(
        **{
            "list-1__data__social": b"include:facebook\ninclude:social\nown.example.com\n",
            "list-1__data__facebook": b"full:www.facebook.com\n",
            "list-1__README": b"not.a.list\n",
        }
    )
    assert read(data, Format.V2FLY, member="social").splitlines() == [
        "+ www.facebook.com",
        "! 2: include:social — the files include each other in a circle, or too deeply",
        "+ own.example.com",
    ]
    with pytest.raises(BadList, match="no file 'twitter'"):
        read(data, Format.V2FLY, member="twitter")


def test_v2fly_files_that_fan_out_without_end_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def include(name: str) -> Iterator[bytes]:
        level = int(name)
        return iter([b"include:%d" % (level + 1)] * 10)

    monkeypatch.setattr(v2fly, "MAX_FILES", 50)
    reasons = {one.reason.rpartition(": ")[2] for one in parse.parse((b"include:0\n",), Format.V2FLY, include=include)}  # type: ignore[union-attr]
    assert reasons == {"the files include each other in a circle, or too deeply", "too many files are included"}
    monkeypatch.setattr(v2fly, "MAX_LINES", 20)
    found = list(parse.parse((b"include:0\n",), Format.V2FLY, include=include))
    assert any(isinstance(one, Rejected) and "too many lines" in one.reason for one in found)


# ---- Names ----


def test_every_suffix_of_a_registry_is_refused_and_private_ones_are_names() -> None:
    registry = PublicSuffixList(only_icann=True)
    everything = PublicSuffixList()
    private = 0
    for rule in everything._publicsuffix:
        name = rule.removeprefix("!").replace("*", "anything")
        if not name.isascii() or not names.is_canonical(name):
            continue
        try:
            found = findings.clean(name.encode())
        except BadName:
            assert registry.is_public(name), name
        else:
            assert found == name
            assert not registry.is_public(name), name
            private += everything.is_public(name)
    assert private > 1000


@given(st.binary(max_size=80))
def test_cleaning_gives_a_canonical_name_or_bad_name(token: bytes) -> None:
    try:
        name = findings.clean(token)
    except BadName as bad:
        assert bad.reason
        return
    assert names.normalise(name) == name


@given(st.from_regex(findings._PLAIN, fullmatch=True))
def test_the_fast_way_takes_only_what_is_canonical_already(token: bytes) -> None:
    if len(token) <= names.MAX_NAME:
        assert names.normalise(token.decode()) == token.decode()


# ---- Hostile bytes ----


@settings(max_examples=300)
@given(st.sampled_from(LINE_FORMATS), st.lists(LINES, max_size=12))
def test_any_lines_give_names_exceptions_and_rejections_of_those_lines(format: Format, lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    try:
        found = list(parse.parse((data,), format))
    except BadList:
        return
    for one in found:
        if isinstance(one, Rejected):
            assert 0 < one.line <= len(lines)
            assert one.reason
            assert one.text.isprintable()
            assert len(one.text) <= findings.SHOWN
        else:
            assert names.is_canonical(one.name)


@given(st.sampled_from(list(Format)), st.binary(max_size=300))
def test_any_bytes_give_findings_or_bad_list(format: Format, data: bytes) -> None:
    try:
        summarise(parse.parse((data,), format))
        summarise(parse.parse((data,)))
    except BadList as bad:
        assert str(bad)


@pytest.mark.parametrize("format", LINE_FORMATS)
def test_a_gigantic_line_is_rejected_and_the_next_one_read(format: Format) -> None:
    sample = {
        Format.HOSTS: b"0.0.0.0 x.example.com",
        Format.ADBLOCK: b"||x.example.com^",
        Format.DNSMASQ: b"local=/x.example.com/",
        Format.RPZ: b"x.example.com CNAME .",
    }.get(format, b"x.example.com")
    chunks = [b"# ok\n", *[b"y" * 100_000] * 50, b"\n", sample]
    found = list(parse.parse(chunks, format))
    assert isinstance(found[0], Rejected)
    assert found[0].line == 2
    assert f"{MAX_LINE}" in found[0].reason
    assert found[1:] == [Found("x.example.com")]


def test_a_line_never_grows_beyond_its_limit() -> None:
    lines = list(split([b"a" * 3000] * 1000 + [b"\n" + b"b" * 10_000 + b"\n", b"c"]))
    assert [len(line) for line in lines] == [MAX_LINE + 1, MAX_LINE + 1, 1]


@pytest.mark.parametrize("format", LINE_FORMATS)
def test_a_nul_byte_is_rejected_with_its_line(format: Format) -> None:
    found = list(
        parse.parse((b"# a list like any other, in which one line is damaged\n" * 2 + b"exa\0mple.com\n",), format)
    )
    assert [(one.line, "NUL" in one.reason) for one in found if isinstance(one, Rejected)] == [(3, True)]


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_utf_16_is_refused(mark: bytes) -> None:
    with pytest.raises(BadList, match="UTF-16"):
        read(mark + "one.example.com\n".encode("utf-16-le"), Format.DOMAINS)


def test_latin_1_is_rejected_line_by_line() -> None:
    assert read("büro.example.com\none.example.com\n".encode("latin-1"), Format.DOMAINS).splitlines() == [
        "! 1: b\N{REPLACEMENT CHARACTER}ro.example.com — this is not UTF-8 text",
        "+ one.example.com",
    ]


# ---- What is no list ----

PORTAL = b"""\xef\xbb\xbf
<!DOCTYPE html>
<html><head><title>  Welcome &amp;
 sign in </title></head><body>one.example.com</body></html>"""


@pytest.mark.parametrize("format", [None, *LINE_FORMATS, Format.UT1])
def test_a_web_page_is_refused_by_its_title_whatever_the_format(format: Format | None) -> None:
    with pytest.raises(BadList, match="a web page, titled “Welcome & sign in”"):
        read(PORTAL, format)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"<script>location='/login'</script>", "web page"),
        (b"  <!-- x --><HTML>", "web page"),
        (b"<!-- moved --><p>gone", "XML or a web page"),
        (b'<?xml version="1.0"?><Error/>', "XML"),
        (b'{"message": "Not Found"}', "JSON"),
        (b'[{"a": 1}]', "JSON"),
        (b"PK\x03\x04....", "zip"),
        (b"\x28\xb5\x2f\xfd....", "zstd"),
        (b"%PDF-1.7", "PDF"),
        (b"\x01\x00\x00\x00\x00ELF", "binary"),
    ],
)
def test_what_is_no_list_is_refused_by_its_kind(data: bytes, what: str) -> None:
    with pytest.raises(BadList, match=what):
        read(data, Format.DOMAINS)


def test_an_adblock_header_is_not_taken_for_json() -> None:
    assert read("[Adblock Plus 2.0]\n||one.example.com^\n") == "+ one.example.com\n"


# ---- Detection ----


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_format_of_a_sample_is_told_by_its_bytes(path: Path) -> None:
    assert detect(path.read_bytes()) is format_of(path)


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ("0.0.0.0 one.example.com\n", Format.HOSTS),
        ("one.example.com\n", Format.DOMAINS),
        ("*.one.example.com\ntwo.example.com\n", Format.WILDCARD),
        ("! comment\n||one.example.com^\n", Format.ADBLOCK),
        ("# comment\nserver=/one.example.com/\n", Format.DNSMASQ),
        ("one.example.com CNAME .\n", Format.RPZ),
        ("include:facebook\none.example.com\n", Format.V2FLY),
    ],
)
def test_a_format_is_told_by_a_line(text: str, format: Format) -> None:
    assert detect(text.encode()) is format


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "hello world\n", "404: Not Found\n"])
def test_nothing_that_looks_like_a_list_asks_for_the_format(text: str) -> None:
    with pytest.raises(BadList, match="looks like a list"):
        read(text)


def test_an_empty_list_of_a_stated_format_is_an_empty_list() -> None:
    assert read("", Format.HOSTS) == ""


# ---- Intake ----


def test_an_intake_streams_names_and_keeps_the_rest() -> None:
    intake = Intake(parse.parse((b"||one.example.com^\n@@||two.example.com^\n" + b"||com^\n" * 150,), Format.ADBLOCK))
    assert list(intake.names()) == ["one.example.com"]
    assert intake.exceptions == ["two.example.com"]
    parsed = intake.parsed()
    assert (parsed.found, parsed.excepted, parsed.rejected) == (1, 1, 150)
    assert [one.line for one in parsed.examples] == list(range(3, 103))


def test_an_intake_reads_no_further_than_it_is_asked() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x" * 70_000 + b"\none.example.com\n"
        yield b"two.example.com\n"
        raise AssertionError("read too far")

    found = Intake(parse.parse(chunks(), Format.DOMAINS)).names()
    assert next(found) == "one.example.com"
    assert next(found) == "two.example.com"


def test_the_sample_folder_is_complete() -> None:
    assert {format_of(path) for path in SAMPLES} == set(LINE_FORMATS)
    for kind in ("*.golden", "*.base"):
        assert {path.stem for path in FOLDER.glob(kind)} == {path.stem for path in (*SAMPLES, UT1)}


def test_an_exception_is_never_a_name() -> None:
    assert list(parse.parse((b"@@||one.example.com^\n",), Format.ADBLOCK)) == [Excepted("one.example.com")]
