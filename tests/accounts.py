"""Accounts and API tokens of a demo district, made in the database beside its running portal, as the command line does.

A person writes at most so many requests within an hour; loops that write more share them among several teachers.
"""

from __future__ import annotations

import time
from pathlib import Path

from portal.access import SYSTEM
from portal.database import connect, transaction
from portal.desk.requests import MAX_PER_HOUR
from portal.people import accounts
from portal.people.sessions import user_actor

TEACHER, REVIEWER, ADMINISTRATOR = (
    "tess.okafor@riverbend.example",
    "rosa.diaz@riverbend.example",
    "amir.khan@riverbend.example",
)


def token(data: Path, email: str, role: str, database: str = "") -> str:
    """Return a new API token of the account `email`, with a role that it has. `database`: its URL, when it is not the
    SQLite file under `data`."""
    engine = connect(database or f"sqlite:///{data / 'portal' / 'portal.sqlite'}")
    try:
        with transaction(engine) as session:
            actor = user_actor(accounts.by_email(session, email))
            draft = accounts.TokenDraft("test", role, machine=False)
            return accounts.create_token(session, actor, time.time(), draft).secret
    finally:
        engine.dispose()


def teachers(data: Path, requests: int, database: str = "") -> list[str]:
    """Return tokens of as many new teachers at Edison as it takes to write `requests` requests within an hour."""
    engine = connect(database or f"sqlite:///{data / 'portal' / 'portal.sqlite'}")
    emails = [f"teacher{number}@riverbend.example" for number in range(-(-requests // MAX_PER_HOUR))]
    try:
        with transaction(engine) as session:
            for number, email in enumerate(emails):
                draft = accounts.UserDraft(email, f"Teacher {number}", ("requester",), "edison")
                accounts.create_user(session, SYSTEM, time.time(), draft, "").demo = True  # or the demo would not go on
    finally:
        engine.dispose()
    return [token(data, email, "requester", database) for email in emails]
