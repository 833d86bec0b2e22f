"""A form as a page shows it: everything that was typed, and what is wrong beside each field.

Values come from the browser's own form data and go back into the page unchanged; errors are the services'
`FieldError`s, whose paths (`tools[0].name`) are matched to fields. Never checks anything itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from starlette.datastructures import FormData

from portal.errors import FieldError, Refused

_NOT_ID = re.compile(r"[^a-z0-9]+")

Typed = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Form:
    """`title` is the sentence above the list of mistakes."""

    typed: Typed = field(default_factory=dict)
    errors: tuple[FieldError, ...] = ()
    title: str = ""

    def value(self, name: str) -> str:
        """Return the (first) value typed into a field, else the empty text."""
        found = self.typed.get(name)
        return found[0] if found else ""

    def values(self, name: str) -> Sequence[str]:
        """Return all values of a repeated or ticked field."""
        return self.typed.get(name, ())

    def wrong(self, name: str) -> list[str]:
        """Return what is wrong with a field or a part of it."""
        return [
            one.message for one in self.errors if one.field == name or one.field.startswith((f"{name}[", f"{name}."))
        ]

    def wrong_itself(self, name: str) -> list[str]:
        """Return what is wrong with a list as a whole, not with one of its rows."""
        return [one.message for one in self.errors if one.field == name]

    def anchor(self, name: str) -> str:
        """Return the id of a field: that of its row for a path into a list (`tools[0].name` -> `f-tools-0`)."""
        row = re.match(r"(tools|entries)\[(\d+)\]", name)
        plain = f"{row[1]}-{row[2]}" if row else re.split(r"[\[.]", name)[0]
        return "f-" + _NOT_ID.sub("-", plain.lower()).strip("-")


def typed(data: FormData) -> dict[str, list[str]]:
    """Return the texts of a posted form, in order; files are left out."""
    found: dict[str, list[str]] = {}
    for name, value in data.multi_items():
        if isinstance(value, str):
            found.setdefault(name, []).append(value)
    return found


def refused(values: Typed, error: Refused) -> Form:
    """Return the form to show again after a service refused it."""
    errors = error.errors or (FieldError("", error.detail),)
    return Form(values, tuple(errors), error.detail if error.errors else "")


def of(**values: str | Iterable[str]) -> dict[str, list[str]]:
    """Return typed values from defaults: a text is one value, anything else several."""
    return {name: [value] if isinstance(value, str) else list(value) for name, value in values.items()}
