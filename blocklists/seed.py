"""The seed: the district's own short lists and the protected set, read from the TOML files in `data/`.

Hand-written text goes in; frozen values come out, or one `BadSeed` with every mistake of every file, so that an editor
mends them in one go. Each `*.toml` file is one category, except `protected.toml`; catalog.toml belongs to `catalog.py`.

Never guesses: a spelling that is not canonical is refused, not corrected, so that the files stay greppable.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from blocklists import names
from blocklists.tables import Mistake, Mistakes, Reading, Table, unreadable

# The policy's own kinds of social media, and the one kind of the messaging category.
KINDS = (
    "social-network",
    "professional-network",
    "blog",
    "microblog",
    "video-sharing",
    "photo-sharing",
    "bookmarking",
    "messaging",
)
PURPOSES = (
    "sign-in",
    "device-management",
    "updates",
    "time",
    "certificates",
    "connectivity",
    "assessment",
    "classroom",
)
MATCHES = ("subtree", "exact")

PROTECTED_FILE = "protected.toml"
_NOT_SEED = frozenset({"catalog.toml", "rewrites.toml"})


@dataclass(frozen=True, slots=True)
class SeedCategory:
    """One category and its list; `names` are the plain names, each with all below it, that belong to no service."""

    id: str
    title: str
    description: str
    locked: bool
    list_id: str
    list_title: str
    licence: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeedService:
    """One service: its names with all below them, without `exceptions` with all below those."""

    id: str
    title: str
    category: str
    kind: str
    names: tuple[str, ...]
    exceptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeedProtected:
    """One name that no list may block, and why."""

    name: str
    match: Literal["subtree", "exact"]
    purpose: str
    why: str


@dataclass(frozen=True, slots=True)
class Seed:
    """Everything that a fresh install knows without a network; in file order, categories by file name."""

    categories: tuple[SeedCategory, ...]
    services: tuple[SeedService, ...]
    protected: tuple[SeedProtected, ...]


class BadSeed(Mistakes):
    """The seed files hold mistakes."""


def load_seed(directory: Path | None = None) -> Seed:
    """Return the seed in `directory`, by default the one that ships with the product; raise `BadSeed`."""
    folder: Traversable = resources.files("blocklists").joinpath("data") if directory is None else directory
    reading = _SeedReading()
    try:
        paths = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise BadSeed([unreadable(str(folder), error)]) from None
    for path in paths:
        if path.name.endswith(".toml") and path.name not in _NOT_SEED:
            reading.file(path)
    if not any(path.name == PROTECTED_FILE for path in paths):
        what = "the protected set is missing, and without it a list can stop sign-in and updates"
        reading.mistakes.append(Mistake(PROTECTED_FILE, 1, what, "restore the file from the release"))
    if not reading.categories and not reading.mistakes:
        what = "no file here describes a category, so that nothing would be blocked"
        reading.mistakes.append(Mistake(str(folder), 1, what, "restore the files from the release"))
    if reading.mistakes:
        raise BadSeed(reading.mistakes)
    return Seed(tuple(reading.categories), tuple(reading.services), tuple(reading.protected))


class _SeedReading(Reading):
    """What has been read so far, over all files."""

    def __init__(self) -> None:
        super().__init__()
        self.categories: list[SeedCategory] = []
        self.services: list[SeedService] = []
        self.protected: list[SeedProtected] = []

    def file(self, path: Traversable) -> None:
        top = self.top(path)
        if top is None:
            return
        if path.name == PROTECTED_FILE:
            top.only("entry")
            for entry in top.tables("entry", required=True):
                self._entry(entry)
        else:
            top.only("category", "service")
            category = self._category(top, path.name.removesuffix(".toml"))
            for service in top.tables("service"):
                self._service(service, category)

    def _category(self, top: Table, stem: str) -> str:
        table = top.table("category")
        table.only("id", "title", "locked", "description", "list", "names", "suffixes")
        identity = table.identity("category")
        if identity and identity != stem:
            what = f"the category is {identity}, but its file is named {stem}.toml"
            table.mistake(table.line("id"), what, "give both one name")
        source = table.table("list")
        source.only("id", "title", "licence")
        self.categories.append(
            SeedCategory(
                id=identity,
                title=table.text("title"),
                description=table.text("description"),
                locked=table.flag("locked"),
                list_id=source.identity("list"),
                list_title=source.text("title"),
                licence=source.text("licence"),
                names=(
                    *table.names("names", "a listed name", required=False),
                    *table.names("suffixes", "a listed name", required=False, suffixes=True),
                ),
            )
        )
        return identity

    def _service(self, table: Table, category: str) -> None:
        table.only("id", "title", "kind", "names", "except")
        service = SeedService(
            id=table.identity("service"),
            title=table.text("title"),
            category=category,
            kind=table.choice("kind", KINDS),
            names=table.names("names", "a listed name", required=True),
            exceptions=table.names("except", "an exception", required=False),
        )
        for exception in service.exceptions:
            if not any(exception != name and names.is_at_or_below(exception, name) for name in service.names):
                what = f"{exception} is below none of the service's names, so there is nothing to except it from"
                table.mistake(table.line("except", exception), what, "remove it, or add the name that it lies below")
        self.services.append(service)

    def _entry(self, table: Table) -> None:
        table.only("purpose", "name", "match", "why")
        self.protected.append(
            SeedProtected(
                name=table.name("name", "a protected name"),
                match="exact" if table.choice("match", MATCHES) == "exact" else "subtree",
                purpose=table.choice("purpose", PURPOSES),
                why=table.text("why"),
            )
        )
