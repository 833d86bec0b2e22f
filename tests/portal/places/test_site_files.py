"""The file of sites as spreadsheets save it, in whichever country."""

from __future__ import annotations

import pytest

from portal.errors import Invalid
from portal.places import site_import


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_separators_and_line_ends_of_spreadsheets_are_understood(
    encoding: str, separator: str, end: str
) -> None:
    name = "École, Nord" if encoding == "cp1252" else "בית ספר, צפון 🏫"
    rows = (
        ("site", "name", "level", "audience", "networks"),
        ("a", f'"{name}"', "middle", "staff", "10.1.0.0/24 ::/64"),
    )
    content = "".join(separator.join(row) + end for row in rows).encode(encoding)
    (row,) = site_import._read(site_import.decoded(content))
    assert (row.site, row.name, row.audience, row.networks) == ("a", name, "staff", ("10.1.0.0/24", "::/64"))


@pytest.mark.parametrize(
    "content", [b"", bytes(range(256)) * 9, b"\xff\xfe\x00", b"\xff\xfea", "a;b;c\n".encode("utf-16")]
)
def test_what_is_no_such_file_is_refused_with_what_is_missing(content: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        site_import._read(site_import.decoded(content))
    assert caught.value.errors
