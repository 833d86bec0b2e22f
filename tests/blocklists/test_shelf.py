"""The last good copy on disk: whole or absent, whatever happens to the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from blocklists.fetch import Failure, Fresh
from blocklists.formats.findings import BadList
from blocklists.shelf import Shelf
from tests.blocklists.fetching import (
    HTML,
    LIST,
    MAX,
    accept,
    bytes_of,
    failed,
    fetcher,
    get,
)
from tests.blocklists.hostile_server import Server, ok


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
