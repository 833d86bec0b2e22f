"""What can go wrong with a person's or a program's wish. Raised by services, translated once at the HTTP edge.

    Refused
    ├── Invalid      422  fields with what is wrong and how to mend it
    ├── Forbidden    403  this actor may not do this
    ├── NotFound     404  no such thing, or none that this actor may see
    ├── Conflict     409  somebody was faster, or the thing is not in a state for this
    └── TooMany      429  more than a person can mean; later it is fine

API routes answer RFC 9457 problem+json; pages show the same sentences beside the fields.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """`field` is a path into what was sent (`tools[0].name`); `message` says what is wrong and how to mend it."""

    field: str
    message: str


class Refused(Exception):
    """`detail` is a sentence for the person."""

    status = 400
    title = "Refused"

    def __init__(self, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors


class Invalid(Refused):
    status = 422
    title = "Something needs mending"


class Forbidden(Refused):
    status = 403
    title = "Not allowed"


class NotFound(Refused):
    status = 404
    title = "Not found"


class Conflict(Refused):
    status = 409
    title = "Somebody was faster"


class TooMany(Refused):
    status = 429
    title = "Too many at once"
