"""The catalog: what ships is sound and off, every mistake is named by line, and nobody is asked at a bad hour."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from blocklists.catalog import BadCatalog, QuietHours, Source, due_at, judge, load_catalog, unbelievable
from blocklists.formats.detect import Format
from blocklists.formats.findings import BadList
from blocklists.parse import Parsed
from blocklists.seed import load_seed

SOURCE = """\
[[source]]
id = "sample"
title = "Sample"
category = "social-media"
url = "https://lists.example/social.txt"
format = "domains"
licence = "MIT"
home = "https://lists.example/"
every_hours = 24
quiet = { from = 8, until = 19, zone = "Europe/Paris" }
least = 10
most = 100
max_bytes = 1_000_000
"""
CATEGORIES = ("social-media", "adult")
PARIS = ZoneInfo("Europe/Paris")


def load(tmp_path: Path, text: str) -> tuple[Source, ...]:
    path = tmp_path / "catalog.toml"
    path.write_text(text, encoding="utf-8")
    return load_catalog(CATEGORIES, path)


def mistakes(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(BadCatalog) as caught:
        load(tmp_path, text)
    return [str(mistake) for mistake in caught.value.mistakes]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return load(tmp_path, SOURCE)[0]


# ---- What ships ----


def test_the_shipped_catalog_names_categories_that_the_seed_has() -> None:
    found = load_catalog({category.id for category in load_seed().categories})
    assert len(found) >= 15
    assert {source.category for source in found} == {"social-media", "messaging", "encrypted-dns", "vpn-proxy", "adult"}
    assert all(source.licence and source.least < source.most for source in found)


def test_no_list_of_the_catalog_has_the_id_of_a_seed_list_or_service() -> None:
    seed = load_seed()
    taken = {category.list_id for category in seed.categories} | {service.id for service in seed.services}
    assert not taken & {source.id for source in load_catalog({category.id for category in seed.categories})}


def test_the_university_that_asks_for_it_is_left_alone_during_the_day() -> None:
    found = load_catalog({category.id for category in load_seed().categories})
    quiet = {source.quiet for source in found if "ut-capitole.fr" in source.url}
    assert quiet == {QuietHours(8, 19, "Europe/Paris")}


# ---- Loading ----


def test_a_source_is_read_whole(source: Source) -> None:
    assert source == Source(
        id="sample",
        title="Sample",
        category="social-media",
        url="https://lists.example/social.txt",
        format=Format.DOMAINS,
        member=None,
        licence="MIT",
        home="https://lists.example/",
        every_hours=24,
        quiet=QuietHours(8, 19, "Europe/Paris"),
        least=10,
        most=100,
        max_bytes=1_000_000,
        note="",
    )


@pytest.mark.parametrize(
    ("was", "now", "line", "what"),
    [
        ('id = "sample"', 'id = "Sample One"', 2, "cannot be an id"),
        ('title = "Sample"', "title = 3", 3, "is something else"),
        ('"social-media"', '"games"', 4, "'games' is not a known category"),
        ("https://lists.example/social.txt", "http://lists.example/social.txt", 5, "does not begin with https://"),
        ("https://lists.example/social.txt", "https://user:pw@lists.example/", 5, "more in it than host"),
        ("https://lists.example/social.txt", "https:///social.txt", 5, "names no host"),
        ("https://lists.example/social.txt", "https://[::/social.txt", 5, "cannot be read"),
        ("https://lists.example/social.txt", "https://lists.example:x/", 5, "cannot be read"),
        ("https://lists.example/social.txt", "https://lists.example/a b", 5, "spaces"),
        ('"domains"', '"yaml"', 6, "'yaml' is not a known format"),
        ('licence = "MIT"\n', "", 1, "has no 'licence'"),
        ("every_hours = 24", "every_hours = 0", 9, "whole number from 1"),
        ("every_hours = 24", "every_hours = true", 9, "whole number from 1"),
        ("from = 8", "from = 20", 10, "end before they begin"),
        ("until = 19", "until = 25", 10, "whole number from 1 to 24"),
        ("Europe/Paris", "Europe/Nowhere", 10, "no time zone"),
        ("Europe/Paris", "../etc/passwd", 10, "no time zone"),
        ("least = 10", "least = 1000", 11, "above the most"),
        ("max_bytes = 1_000_000", "max_bytes = 1_000_000\nenabled = true", 14, "unknown key, 'enabled'"),
        ("max_bytes = 1_000_000", 'max_bytes = 1_000_000\nmember = "x"', 14, "only a v2fly collection"),
        ("max_bytes = 1_000_000", "max_bytes = ", 13, "not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, was: str, now: str, line: int, what: str) -> None:
    assert was in SOURCE
    found = mistakes(tmp_path, SOURCE.replace(was, now, 1))
    assert len(found) == 1, found
    assert found[0].startswith(f"catalog.toml:{line}: ")
    assert what in found[0]


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    text = SOURCE.replace("24", '"daily"').replace('"domains"', '"yaml"') + SOURCE
    assert [mistake.split(": ")[0] for mistake in mistakes(tmp_path, text)] == [
        "catalog.toml:6",
        "catalog.toml:9",
        "catalog.toml:15",
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "source = 3\n", "[[sources]]\n"])
def test_a_catalog_without_sources_is_a_mistake(tmp_path: Path, text: str) -> None:
    assert any("source" in mistake for mistake in mistakes(tmp_path, text))


def test_a_catalog_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(BadCatalog, match="cannot be read"):
        load_catalog(CATEGORIES, tmp_path / "absent.toml")


# ---- When ----


def at(hour: int, minute: int = 0, day: int = 14) -> float:
    return datetime(2023, 11, day, hour, minute, tzinfo=PARIS).timestamp()


@pytest.mark.parametrize(
    ("checked", "failures", "now", "due"),
    [
        (None, 0, at(6), at(6)),  # never asked: at once
        (None, 0, at(8), at(19)),  # … but not in the quiet hours
        (None, 0, at(18, 59), at(19)),
        (at(6), 0, at(7), at(19, day=15) - 13 * 3600),  # a day after the last answer
        (at(12), 0, at(13), at(19, day=15)),  # a day after falls into the quiet hours
        (at(1), 1, at(1), at(2)),  # failed: soon again
        (at(1), 3, at(1), at(5)),  # later and later
        (at(1), 4, at(1), at(19)),
        (at(1), 9, at(1), at(1, day=15)),  # never later than its cadence
        (at(1, day=1), 0, at(20), at(20)),  # long due
    ],
)
def test_a_source_is_due_by_its_cadence_outside_its_quiet_hours(
    source: Source, checked: float | None, failures: int, now: float, due: float
) -> None:
    assert due_at(source, checked, failures, now) == due


def test_quiet_hours_until_midnight_end_with_the_day(source: Source) -> None:
    late = replace(source, quiet=QuietHours(20, 24, "Europe/Paris"))
    assert due_at(late, None, 0, at(22)) == at(0, day=15)


def test_without_quiet_hours_any_hour_will_do(source: Source) -> None:
    assert due_at(replace(source, quiet=None), None, 0, at(12)) == at(12)


# ---- What is believed ----


@pytest.mark.parametrize(
    ("found", "rejected", "why"),
    [(10, 0, None), (100, 100, None), (9, 0, "fewer than 10"), (101, 0, "more than 100"), (20, 21, "another format")],
)
def test_a_list_is_believed_between_its_sizes(source: Source, found: int, rejected: int, why: str | None) -> None:
    fault = unbelievable(source, Parsed(found, 0, rejected, ()))
    assert fault is None if why is None else why in (fault or "")


def test_a_file_is_judged_by_its_source(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("".join(f"host{number}.example.com\n" for number in range(20)))
    assert judge(source, path).found == 20
    path.write_text("<html><title>Moved</title></html>")
    with pytest.raises(BadList, match="Moved"):
        judge(source, path)
    path.write_text("one.example.com\n")
    with pytest.raises(BadList, match="fewer than 10"):
        judge(source, path)
