"""Reading what people typed: every mistake is noted under its field's path, and all are raised together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import date
from enum import StrEnum
from typing import TypeVar

from portal.errors import FieldError, Invalid

Word = TypeVar("Word", bound=StrEnum)

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")  # what no database text should hold; tab and newline stay
_MAX_ERRORS = 100


class Mistakes:
    """Collects `FieldError`s. Readers return a usable value even after a mistake, so that reading can go on."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def add(self, field: str, message: str) -> None:
        if len(self.errors) < _MAX_ERRORS:
            self.errors.append(FieldError(field, message))

    def stop(self, sentence: str = "Please mend what is marked, and send it again.") -> None:
        """Raise `Invalid` when anything was noted."""
        if self.errors:
            raise Invalid(sentence, tuple(self.errors))

    def text(self, field: str, value: str, missing: str, longest: int) -> str:
        """Return `value` trimmed and without control characters; `missing` is said when nothing is left (empty: it
        may be left out)."""
        clean = _CONTROL.sub("", value.replace("\r\n", "\n").replace("\r", "\n")).strip()
        if not clean and missing:
            self.add(field, missing)
        elif len(clean) > longest:
            self.add(field, f"this has {len(clean)} characters; {longest} fit here")
        return clean[:longest]

    def date(self, field: str, value: str) -> date | None:
        try:
            return date.fromisoformat(value.strip())
        except ValueError:
            self.add(field, f"{value[:40]!r} is not a date; write it like 2026-03-04")
            return None

    def words(self, field: str, values: Iterable[str], kind: type[Word], missing: str) -> tuple[Word, ...]:
        """Return the distinct values as words of `kind`, in its order."""
        found: set[Word] = set()
        for at, value in enumerate(values):
            try:
                found.add(kind(value))
            except ValueError:
                self.add(f"{field}[{at}]", f"{value[:40]!r} is not one of {', '.join(kind)}")
        if not found and missing and not any(error.field.startswith(field) for error in self.errors):
            self.add(field, missing)
        return tuple(word for word in kind if word in found)

    def word(self, field: str, value: str, kind: type[Word], default: Word) -> Word:
        try:
            return kind(value)
        except ValueError:
            self.add(field, f"{value[:40]!r} is not one of {', '.join(kind)}")
            return default

    def known(self, field: str, values: Iterable[str], known: Collection[str], thing: str) -> tuple[str, ...]:
        """Return the distinct values, in their order; each must be one of `known`."""
        distinct = tuple(dict.fromkeys(values))
        for at, value in enumerate(distinct):
            if value not in known:
                self.add(f"{field}[{at}]", f"there is no {thing} {value[:40]!r}")
        return tuple(value for value in distinct if value in known)
