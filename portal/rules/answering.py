"""What answers hold beside the verdict: the block page's address, ECH, private addresses, structured errors."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session

from blocklists import names
from blocklists.clients import parse_address
from blocklists.policy import Answering
from portal import access, audit
from portal.access import Actor
from portal.fields import Mistakes
from portal.models.district import District
from portal.outbox import record_change
from portal.places import district

_MAX_ADDRESSES = 8
_MAX_NAMES = 1000
_ONLY_ADMINISTRATORS = "Only an administrator changes what answers hold."


@dataclass(frozen=True, slots=True)
class AnsweringDraft:
    """`block_page`: addresses, for the style `page`. `private_names`: at and below them answers may hold private
    addresses."""

    block_page: tuple[str, ...]
    strip_ech: bool
    private_names: tuple[str, ...]
    structured_errors: bool


def of(row: District) -> Answering:
    """Return what the policy says of it."""
    return Answering(
        page=tuple(row.block_page),
        strip_ech=row.strip_ech,
        private=tuple(row.private_names),
        structured=row.structured_errors,
        contact=row.contact,
        organisation=row.name,
    )


def update(session: Session, actor: Actor, now: float, draft: AnsweringDraft) -> District:
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    row = district.get(session)
    mistakes = Mistakes()
    page = _addresses(mistakes, draft.block_page)
    private = _names(mistakes, draft.private_names)
    mistakes.stop()
    detail: audit.Detail = {
        "block_page": [list(row.block_page), page],
        "strip_ech": [row.strip_ech, draft.strip_ech],
        "private_names": [list(row.private_names), private],
        "structured_errors": [row.structured_errors, draft.structured_errors],
    }
    row.block_page, row.strip_ech = page, draft.strip_ech
    row.private_names, row.structured_errors = private, draft.structured_errors
    session.add(row)
    record_change(session, actor, now, "district.answers.update", "district:1", detail)
    return row


def _addresses(mistakes: Mistakes, typed: tuple[str, ...]) -> list[str]:
    found: dict[str, None] = {}
    if len(typed) > _MAX_ADDRESSES:
        mistakes.add("block_page", f"a block page has at most {_MAX_ADDRESSES} addresses")
    for at, text in enumerate(typed[:_MAX_ADDRESSES]):
        try:
            found[str(parse_address(text.strip()))] = None
        except ValueError:
            mistakes.add(f"block_page[{at}]", f"{text[:60]!r} is not an address, like 10.20.0.80 or 2001:db8::80")
    return list(found)


def _names(mistakes: Mistakes, typed: tuple[str, ...]) -> list[str]:
    found: dict[str, None] = {}
    if len(typed) > _MAX_NAMES:
        mistakes.add("private_names", f"at most {_MAX_NAMES} names fit here")
    for at, text in enumerate(typed[:_MAX_NAMES]):
        try:
            found[names.understand(text).name] = None
        except names.BadName as error:
            mistakes.add(f"private_names[{at}]", error.reason)
    return sorted(found)
