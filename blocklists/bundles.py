"""Service bundles of a v2fly collection: a category's file names the services' files; each is one service.

`category-social-media-!cn` says `include:facebook`; the file `facebook` holds Facebook's names. Bytes in, services out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from blocklists.formats.archive import collection
from blocklists.formats.findings import BadList, Found
from blocklists.formats.lines import split
from blocklists.formats.v2fly import v2fly
from blocklists.seed import SeedService

FOLDER = "data"
LIMIT = 64 << 20  # bytes of all files of the collection
MAX_NAMES = 2_000  # of one service
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_KINDS = {"messaging": "messaging"}


def bundles(archive: Iterable[bytes], member: str, category: str) -> dict[str, SeedService]:
    """Return the services that `member` includes, directly or through other categories' files, by id.

    Raises `BadList` when the archive is no collection or has no such file.
    """
    files = collection(archive, FOLDER, LIMIT)
    if member not in files:
        raise BadList(f"there is no file {member!r} in this collection")

    def include(name: str) -> Iterator[bytes] | None:
        return split((files[name],)) if name in files else None

    found: dict[str, SeedService] = {}
    for name in _included(files, member):
        id = name.lower().replace("_", "-").replace(".", "-")
        names = dict.fromkeys(one.name for one in v2fly(split((files[name],)), include, name) if isinstance(one, Found))
        if _ID.match(id) and 0 < len(names) <= MAX_NAMES:
            title = id.replace("-", " ").capitalize()
            found[id] = SeedService(id, title, category, _KINDS.get(category, "social-network"), tuple(names), ())
    return found


def _included(files: dict[str, bytes], member: str) -> list[str]:
    """The services' files: those of categories are looked into, in order, each once."""
    found: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [member]
    while waiting:
        one = waiting.pop(0)
        if one in seen or one not in files:
            continue
        seen.add(one)
        for line in split((files[one],)):
            word = (line.partition(b"#")[0].split() or [b""])[0]
            kind, _, value = word.partition(b":")
            name = value.decode("ascii", "replace")
            if kind != b"include" or name not in files:
                continue
            if name.startswith(("category-", "geolocation-")):
                waiting.append(name)
            else:
                found[name] = None
    return list(found)
