"""Service bundles of a v2fly collection."""

from __future__ import annotations

import io
import tarfile

import pytest

from blocklists.bundles import bundles
from blocklists.formats.findings import BadList

FILES = {
    "category-social-media-!cn": b"include:facebook\ninclude:category-forums # more\ninclude:no\nlone.example.com\n",
    "category-forums": b"include:reddit\ninclude:category-social-media-!cn\n",
    "facebook": b"facebook.com\ninclude:instagram\nregexp:^fb\n",
    "instagram": b"full:instagram.com\ncdninstagram.com @ads\n",
    "reddit": b"reddit.com\nredd.it\n",
    "empty": b"# nothing\n",
}


def archive(files: dict[str, bytes]) -> list[bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"domain-list-community-master/data/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return [out.getvalue()]


def test_each_file_that_a_category_includes_is_a_service_with_the_names_of_its_own_includes() -> None:
    found = bundles(archive(FILES), "category-social-media-!cn", "social-media")
    assert {id: one.names for id, one in found.items()} == {
        "facebook": ("facebook.com", "instagram.com", "cdninstagram.com"),
        "reddit": ("reddit.com", "redd.it"),
    }
    assert {one.category for one in found.values()} == {"social-media"}


def test_an_archive_without_the_file_is_refused() -> None:
    with pytest.raises(BadList, match="category-none"):
        bundles(archive(FILES), "category-none", "social-media")
