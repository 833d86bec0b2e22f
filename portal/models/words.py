"""The closed sets of words that tables store."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """A closed set. An administrator does not thereby decide requests."""

    REQUESTER = "requester"  # any employee
    REVIEWER = "reviewer"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"
    DESIGNEE = "designee"  # keeps the yearly register of platforms


class Scope(StrEnum):
    """What a bearer token may do of what its role may."""

    READ = "read"
    CHANGE = "change"  # read, too


class State(StrEnum):
    """Of a request. `approved` is not "in force": that is said of the grant, from the nodes' acknowledgements."""

    SUBMITTED = "submitted"
    ASKED = "asked"  # the desk asked a question; it is the requester's turn
    APPROVED = "approved"
    DENIED = "denied"
    NOT_OUR_BLOCK = "not-our-block"  # answered: the filter does not block this
    WITHDRAWN = "withdrawn"


class Use(StrEnum):
    VIEW = "view"
    STUDENTS_POST = "students-post"
    CLASS_POST = "class-post"
    MESSAGES = "messages"
