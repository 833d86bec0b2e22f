"""The seed: the district's own short lists and the protected set, read from the TOML files in `data/`.

Hand-written text goes in; frozen values come out, or one `BadSeed` with every mistake of every file, so that an editor
mends them in one go. Each `*.toml` file is one category, except `protected.toml`; catalog.toml belongs to `catalog.py`.

Never guesses: a spelling that is not canonical is refused, not corrected, so that the files stay greppable.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from blocklists import names

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
_NOT_SEED = frozenset({"catalog.toml"})

_KEBAB = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_HEADER = re.compile(r"^[ \t]*(\[\[?[\w-]+\]\]?)[ \t]*$", re.MULTILINE)
_STRING_OR_COMMENT = re.compile(r"""("(?:\\.|[^"\\\n])*"|'[^'\n]*')|#[^\n]*""")
_TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)\Z")


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


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in one line of a seed file, and how to mend it."""

    file: str
    line: int
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}; {self.mend}"


class BadSeed(ValueError):
    """The seed files hold mistakes: all of them, in order of file and line."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: (mistake.file, mistake.line)))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


def load_seed(directory: Path | None = None) -> Seed:
    """Return the seed in `directory`, by default the one that ships with the product; raise `BadSeed`."""
    folder: Traversable = resources.files("blocklists").joinpath("data") if directory is None else directory
    reading = _Reading()
    try:
        paths = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise BadSeed([_unreadable(str(folder), error)]) from None
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


def _unreadable(file: str, error: OSError) -> Mistake:
    return Mistake(file, 1, f"it cannot be read ({error.strerror})", "check that it is there, and who may read it")


class _Reading:
    """What has been read so far, over all files: values, mistakes, and where each name and id was first met."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []
        self.categories: list[SeedCategory] = []
        self.services: list[SeedService] = []
        self.protected: list[SeedProtected] = []
        self.met: dict[tuple[str, str], str] = {}

    def file(self, path: Traversable) -> None:
        try:
            text = path.read_bytes().decode("utf-8")
        except OSError as error:
            self.mistakes.append(_unreadable(path.name, error))
            return
        except UnicodeDecodeError:
            self.mistakes.append(Mistake(path.name, 1, "this is not UTF-8 text", "save the file as UTF-8"))
            return
        try:
            document = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a plain ValueError
            found = _TOML_PLACE.search(str(error))
            line = int(found[1]) if found and found[1] else text.count("\n") + 1
            what = f"this is not TOML ({_TOML_PLACE.sub('', str(error))})"
            self.mistakes.append(Mistake(path.name, line, what, "mend this line or the one before it"))
            return
        text = text.replace("\r\n", "\n")
        text = _STRING_OR_COMMENT.sub(lambda found: found[1] or " " * len(found[0]), text)
        top = _Table(self, path.name, text, (0, len(text)), "the file", document)
        if path.name == PROTECTED_FILE:
            top.only("entry")
            for entry in top.tables("entry", required=True):
                self._entry(entry)
        else:
            top.only("category", "service")
            category = self._category(top, path.name.removesuffix(".toml"))
            for service in top.tables("service"):
                self._service(service, category)

    def _category(self, top: _Table, stem: str) -> str:
        table = top.table("category")
        table.only("id", "title", "locked", "description", "list", "names")
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
                names=table.names("names", "a listed name", required=False),
            )
        )
        return identity

    def _service(self, table: _Table, category: str) -> None:
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

    def _entry(self, table: _Table) -> None:
        table.only("purpose", "name", "match", "why")
        self.protected.append(
            SeedProtected(
                name=table.name("name", "a protected name"),
                match="exact" if table.choice("match", MATCHES) == "exact" else "subtree",
                purpose=table.choice("purpose", PURPOSES),
                why=table.text("why"),
            )
        )


class _Table:
    """One TOML table and the part of the text that holds it. Read key by key; a mistake is noted, never raised.

    What cannot be read becomes an empty value: nobody sees it, because a mistake noted means that `load_seed` raises.
    """

    def __init__(
        self, reading: _Reading, file: str, text: str, span: tuple[int, int], label: str, values: dict[str, object]
    ) -> None:
        self._reading = reading
        self._file = file
        self._text = text  # comments blanked out, so that only keys and strings are found
        self._start, self._end = span
        self._label = label
        self._values = values

    def mistake(self, line: int, what: str, mend: str) -> None:
        self._reading.mistakes.append(Mistake(self._file, line, what, mend))

    def line(self, key: str, value: str | None = None, nth: int = 1) -> int:
        """Return the line of `key`, or of the `nth` quoted `value` after it; the nearest place known when not found."""
        at = self._key(key)
        if value is not None:
            quoted = re.compile(rf"""(["']){re.escape(value)}\1""")
            places = [found.start() for found in quoted.finditer(self._text, at, self._end)]
            at = places[min(nth, len(places)) - 1] if places else at
        return self._text.count("\n", 0, at) + 1

    def _key(self, key: str) -> int:
        written = rf"""["']?({re.escape(key)})["']?\s*[=\].]"""
        for before in (r"^\s*\[*", r"[{,]\s*"):  # on a line of its own, else in an inline table
            if found := re.compile(before + written, re.MULTILINE).search(self._text, self._start, self._end):
                return found.start(1)
        return self._start

    def only(self, *keys: str) -> None:
        for key in self._values:
            if key not in keys:
                mend = f"the keys here are: {', '.join(keys)}"
                self.mistake(self.line(key), f"{self._label} has an unknown key, {key!r}", mend)

    def table(self, key: str) -> _Table:
        found = self._values.get(key)
        at = self._key(key)
        header = _HEADER.search(self._text, at, self._end)
        if not self._text.startswith("]", at + len(key)):  # an inline table, which ends with its line
            span = (at, self._text.find("\n", at) + 1 or self._end)
        else:
            span = (at, header.start() if header else self._end)
        if isinstance(found, dict):
            return _Table(self._reading, self._file, self._text, span, f"the {key}", found)
        self._absent(key, "a table")
        return _Table(_Reading(), self._file, self._text, span, f"the {key}", {})  # its mistakes would only echo this

    def tables(self, key: str, *, required: bool = False) -> list[_Table]:
        found = self._values.get(key, None if required else [])
        if not isinstance(found, list) or not all(isinstance(values, dict) for values in found):
            self._absent(key, f"one or more tables that begin with [[{key}]]")
            return []
        headers = [header for header in _HEADER.finditer(self._text) if header[1] == f"[[{key}]]"]
        starts = [header.start(1) for header in headers]
        if len(starts) != len(found):  # written in another shape: the whole text is the nearest place known
            starts = [0] * len(found)
        tables = []
        for values, start in zip(found, starts, strict=True):
            following = _HEADER.search(self._text, start + 1)
            span = (start, following.start() if following and start else len(self._text))
            tables.append(_Table(self._reading, self._file, self._text, span, f"this {key}", values))
        return tables

    def text(self, key: str) -> str:
        value = self._values.get(key)
        if isinstance(value, str) and value.strip() == value != "":
            return value
        self._absent(key, "a text in quotes, without spaces around it")
        return ""

    def flag(self, key: str) -> bool:
        value = self._values.get(key)
        if not isinstance(value, bool):
            self._absent(key, "true or false")
        return value is True

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        value = self._values.get(key)
        if isinstance(value, str) and value in choices:
            return value
        if isinstance(value, str):
            self.mistake(self.line(key), f"{value!r} is not a known {key}", f"write one of: {', '.join(choices)}")
        else:
            self._absent(key, f"one of: {', '.join(choices)}")
        return ""

    def identity(self, what: str) -> str:
        value = self.text("id")
        if value and not _KEBAB.match(value):
            self.mistake(
                self.line("id"), f"{value!r} cannot be an id", "write small letters, digits and single hyphens"
            )
        elif value:
            self._once(f"the id of a {what}", value, self.line("id"))
        return value

    def name(self, key: str, what: str) -> str:
        text = self.text(key)
        return self._name(text, what, self.line(key)) if text else ""

    def names(self, key: str, what: str, *, required: bool) -> tuple[str, ...]:
        value = self._values.get(key, None if required else [])
        if not isinstance(value, list) or (required and not value):
            self._absent(key, 'a list: ["example.com"]')
            return ()
        times: Counter[str] = Counter()
        good = []
        for text in value:
            if not isinstance(text, str):
                self.mistake(self.line(key), f"{text!r} is not a name", "write names in quotes")
                continue
            times[text] += 1
            if name := self._name(text, what, self.line(key, text, times[text])):
                good.append(name)
        return tuple(good)

    def _name(self, text: str, what: str, line: int) -> str:
        try:
            name = names.normalise(text)
        except names.BadName as bad:
            self.mistake(line, f"{text!r} is not a name: {bad.reason}", "write it like example.com")
            return ""
        if name != text:
            self.mistake(line, f"{text!r} is not written the one way that names are written", f"write {name!r}")
        if names.is_public_suffix(name):
            mend = "list the names below it, one by one"
            self.mistake(line, f"{name} is a public suffix: everybody's names lie below it", mend)
        self._once(what, name, line)
        return name

    def _once(self, what: str, value: str, line: int) -> None:
        first = self._reading.met.setdefault((what, value), here := f"{self._file}:{line}")
        if first is not here:
            self.mistake(line, f"{value} is here a second time, as {what}; the first is {first}", "keep one of them")

    def _absent(self, key: str, wanted: str) -> None:
        if key in self._values:
            self.mistake(self.line(key), f"{self._label} has a {key!r} that is something else", f"give it {wanted}")
        else:
            first = self._text.count("\n", 0, self._start) + 1
            self.mistake(first, f"{self._label} has no {key!r}", f"give it {wanted}")
