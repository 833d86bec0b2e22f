"""Hand-written TOML: values key by key, or every mistake of every file at once, each with its line and its remedy.

The seed and the catalog of sources are read through here. Text goes in; `Table` gives typed values and notes what it
cannot give; the loader raises when anything was noted, so that an editor mends all of it in one go. Nothing is guessed:
a spelling that is not canonical is refused, not corrected, so that the files stay greppable.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from blocklists import names

_KEBAB = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_HEADER = re.compile(r"^[ \t]*(\[\[?[\w-]+\]\]?)[ \t]*$", re.MULTILINE)
_STRING_OR_COMMENT = re.compile(r"""("(?:\\.|[^"\\\n])*"|'[^'\n]*')|#[^\n]*""")
_TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)\Z")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in one line of a file, and how to mend it."""

    file: str
    line: int
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}; {self.mend}"


class Mistakes(ValueError):
    """Files that hold mistakes: all of them, in order of file and line."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: (mistake.file, mistake.line)))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


def unreadable(file: str, error: OSError) -> Mistake:
    return Mistake(file, 1, f"it cannot be read ({error.strerror})", "check that it is there, and who may read it")


class Reading:
    """What has been met so far, over all files: mistakes, and where each name and id was first met."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []
        self.met: dict[tuple[str, str], str] = {}

    def top(self, path: Traversable) -> Table | None:
        """Return the whole file as one table, or None when it cannot be read, with the mistake noted."""
        try:
            text = path.read_bytes().decode("utf-8")
        except OSError as error:
            self.mistakes.append(unreadable(path.name, error))
            return None
        except UnicodeDecodeError:
            self.mistakes.append(Mistake(path.name, 1, "this is not UTF-8 text", "save the file as UTF-8"))
            return None
        try:
            document = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a plain ValueError
            found = _TOML_PLACE.search(str(error))
            line = int(found[1]) if found and found[1] else text.count("\n") + 1
            what = f"this is not TOML ({_TOML_PLACE.sub('', str(error))})"
            self.mistakes.append(Mistake(path.name, line, what, "mend this line or the one before it"))
            return None
        text = text.replace("\r\n", "\n")
        text = _STRING_OR_COMMENT.sub(lambda found: found[1] or " " * len(found[0]), text)
        return Table(self, path.name, text, (0, len(text)), "the file", document)


class Table:
    """One TOML table and the part of the text that holds it. Read key by key; a mistake is noted, never raised.

    What cannot be read becomes an empty value: nobody sees it, because a mistake noted means that the loader raises.
    """

    def __init__(
        self, reading: Reading, file: str, text: str, span: tuple[int, int], label: str, values: dict[str, object]
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

    def table(self, key: str) -> Table:
        found = self._values.get(key)
        at = self._key(key)
        header = _HEADER.search(self._text, at, self._end)
        if not self._text.startswith("]", at + len(key)):  # an inline table, which ends with its line
            span = (at, self._text.find("\n", at) + 1 or self._end)
        else:
            span = (at, header.start() if header else self._end)
        if isinstance(found, dict):
            return Table(self._reading, self._file, self._text, span, f"the {key}", found)
        self._absent(key, "a table")
        return Table(Reading(), self._file, self._text, span, f"the {key}", {})  # its mistakes would only echo this

    def tables(self, key: str, *, required: bool = False) -> list[Table]:
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
            tables.append(Table(self._reading, self._file, self._text, span, f"this {key}", values))
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

    def names(self, key: str, what: str, *, required: bool, suffixes: bool = False) -> tuple[str, ...]:
        """Return the names of a list. `suffixes`: they are public suffixes, each meant with everybody's names below."""
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
            if name := self._name(text, what, self.line(key, text, times[text]), suffixes):
                good.append(name)
        return tuple(good)

    def _name(self, text: str, what: str, line: int, suffix: bool = False) -> str:
        try:
            name = names.normalise(text)
        except names.BadName as bad:
            self.mistake(line, f"{text!r} is not a name: {bad.reason}", "write it like example.com")
            return ""
        if name != text:
            self.mistake(line, f"{text!r} is not written the one way that names are written", f"write {name!r}")
        if suffix and not names.is_public_suffix(name):
            self.mistake(line, f"{name} is no public suffix", "list it among the names")
        if not suffix and names.is_public_suffix(name):
            mend = "list the names below it, one by one"
            self.mistake(line, f"{name} is a public suffix: everybody's names lie below it", mend)
        self._once(what, name, line)
        return name

    def number(self, key: str, low: int, high: int) -> int:
        value = self._values.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self._absent(key, f"a whole number from {low:,} to {high:,}")
        return 0

    def has(self, key: str) -> bool:
        return key in self._values

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
