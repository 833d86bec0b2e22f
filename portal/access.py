"""Who is asking, and who may do what: the predicates, in one place.

An `Actor` is made at the edge (`sessions.py` for browsers and tokens, the node's credential, `SYSTEM` for the command
line and the jobs) and handed to every service. A predicate returns a bool; `require` turns a no into `Forbidden` with a
sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from portal.errors import Forbidden
from portal.models.words import Role


class ActorKind(StrEnum):
    USER = "user"
    TOKEN = "token"  # noqa: S105
    NODE = "node"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """`id` is the row's of its kind (0 for the system). `user_id` is the person behind it: the user, or the owner of
    a person's token; None for a machine, a node and the system."""

    kind: ActorKind
    id: int
    name: str
    roles: frozenset[Role]
    user_id: int | None = None
    site_id: str | None = None
    machine: bool = False
    session: str | None = None  # hash of the browser session's secret
    reads_only: bool = False  # a token whose scope is to read

    @property
    def reference(self) -> str:
        """As the audit names it: `user:3`, `token:2`, `node:1`, `system`."""
        return "system" if self.kind is ActorKind.SYSTEM else f"{self.kind}:{self.id}"

    @property
    def is_person(self) -> bool:
        return self.user_id is not None and not self.machine


SYSTEM = Actor(ActorKind.SYSTEM, 0, "Schoolgate", frozenset())


def require(allowed: bool, sentence: str) -> None:
    if not allowed:
        raise Forbidden(sentence)


def _is(actor: Actor, *roles: Role) -> bool:
    return any(role in actor.roles for role in roles)


def may_submit(actor: Actor) -> bool:
    """Any employee with an account, whatever else they are; not a machine: a written request has an author."""
    return actor.is_person and _is(actor, Role.REQUESTER, Role.REVIEWER, Role.ADMINISTRATOR, Role.DESIGNEE)


def may_see_every_request(actor: Actor) -> bool:
    return _is(actor, Role.REVIEWER, Role.ADMINISTRATOR, Role.AUDITOR)


def may_see_request(actor: Actor, requester_id: int) -> bool:
    return may_see_every_request(actor) or (actor.is_person and actor.user_id == requester_id)


def may_review(actor: Actor) -> bool:
    """A person with the reviewer's role. An administrator does not thereby decide; a machine never does."""
    return actor.is_person and _is(actor, Role.REVIEWER)


def may_decide(actor: Actor, requester_id: int) -> bool:
    """A reviewer who did not write the request."""
    return may_review(actor) and actor.user_id != requester_id


def may_revoke(actor: Actor) -> bool:
    return actor.is_person and _is(actor, Role.REVIEWER, Role.ADMINISTRATOR)


def may_see_grants(actor: Actor) -> bool:
    """Everybody with an account: what is open, and by what authority, is no secret among employees."""
    return bool(actor.roles)


def may_administer(actor: Actor) -> bool:
    """Sites, groups, categories, services, corrections, brakes, people. The system does it at set-up."""
    return actor.kind is ActorKind.SYSTEM or (actor.is_person and _is(actor, Role.ADMINISTRATOR))


def may_see_district(actor: Actor) -> bool:
    return actor.kind is ActorKind.SYSTEM or _is(actor, Role.REVIEWER, Role.ADMINISTRATOR, Role.AUDITOR)


def may_keep_register(actor: Actor) -> bool:
    """The superintendent's designee: writes and publishes the yearly register of platforms."""
    return actor.is_person and _is(actor, Role.DESIGNEE)


def may_see_register(actor: Actor) -> bool:
    """Its drafts and how it came about. What is published, everybody reads."""
    return _is(actor, Role.DESIGNEE, Role.ADMINISTRATOR, Role.AUDITOR)


def may_propose_correction(actor: Actor) -> bool:
    return actor.is_person and _is(actor, Role.REVIEWER, Role.ADMINISTRATOR)


def may_audit(actor: Actor) -> bool:
    return actor.kind is ActorKind.SYSTEM or _is(actor, Role.AUDITOR, Role.ADMINISTRATOR)
