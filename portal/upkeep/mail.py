"""Mail: rows in an outbox, and the conversation with the district's mail server (SMTP, RFC 5321).

    write        a row for each recipient, in the transaction of what it tells
    claim        the oldest row that is due; its `due_at` moves on first, so that of several portals one sends it
    deliver      the message, within one deadline, encrypted unless the settings say otherwise

A row waits until the server has taken it: `RETRY` doubling up to `LONGEST_WAIT`, for `PATIENCE`. A portal that dies
between the server's word and its own row sends again, with the same Message-ID, which mail systems take for one mail.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, parseaddr

import aiosmtplib
from sqlalchemy import ColumnElement, func, update
from sqlmodel import Session, col, or_, select

from portal import private
from portal.config import MailConfig
from portal.models.alerts import MailRow
from portal.private import Exposed

DEADLINE = 60.0  # seconds for one mail, from connecting to the server's last word
LEASE = 300  # seconds that a claim lasts; longer than any delivery
RETRY = 30  # seconds after the first failure
LONGEST_WAIT = 3600
_ONE_LINE = policy.SMTP.clone(max_line_length=900)  # a folded subject would begin with a space; RFC 5322 allows 998
PATIENCE = 3 * 86_400  # seconds until a mail is given up, its row kept


class BadMail(ValueError):
    """Settings of mail that cannot work. The message says what to do."""


class NotSent(Exception):
    """The server did not take the mail. `reached`: it answered, and refused this one; others may go."""

    def __init__(self, why: str, *, reached: bool) -> None:
        super().__init__(why)
        self.reached = reached


@dataclass(frozen=True, slots=True)
class Standing:
    """Of the outbox: what waits, and why the last try failed."""

    waiting: int
    sent: int
    given_up: int
    error: str


def check(config: MailConfig) -> None:
    """Raise `BadMail` when the password file or the authorities' file cannot be used."""
    _password(config)
    _context(config)


def _password(config: MailConfig) -> str | None:
    if config.password_file is None:
        return None
    path = config.password_file
    try:
        text = private.read(path, "the mail password", 4_096).decode().strip()
    except Exposed as error:
        raise BadMail(f"{error}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadMail(
            f"{path}: the mail password cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    if not text:
        raise BadMail(f"{path} is empty; the mail password belongs there")
    return text


def _context(config: MailConfig) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if config.ca is None else str(config.ca))
    except OSError as error:
        raise BadMail(f"{config.ca}: no file of PEM certificates: {error.strerror or error}") from None


def write(session: Session, now: int, to: Iterable[str], key: str, subject: str, body: str, answers: str = "") -> None:
    """Leave a mail for each of `to`. `key` is unique for what it tells; `answers` is the key of the mail before it."""
    for address in to:
        session.add(
            MailRow(
                message_id=_message_id(key, address),
                in_reply_to=_message_id(answers, address) if answers else "",
                to=address,
                subject=" ".join(subject.split())[:200],
                body=body,
                written_at=now,
                due_at=now,
            )
        )


def _message_id(key: str, address: str) -> str:
    return f"<{key}.{address.encode().hex()[:48]}@{socket.gethostname() or 'schoolgate'}>"


def _due(now: int) -> ColumnElement[bool]:
    """A clock set back holds nothing up: what lies further ahead than any wait is due too."""
    return or_(col(MailRow.due_at) <= now, col(MailRow.due_at) > now + LONGEST_WAIT)


def is_due(session: Session, now: int) -> bool:
    """True when there may be something to `claim`."""
    return session.exec(select(MailRow.id).where(_due(now)).limit(1)).first() is not None


def claim(session: Session, now: int) -> MailRow | None:
    """Return the next row to send, claimed for `LEASE`; None when nothing is due, or another portal was faster."""
    wanted = select(MailRow).where(_due(now)).order_by(col(MailRow.due_at), col(MailRow.id)).limit(1)
    if (row := session.exec(wanted).first()) is None:
        return None
    mine = (
        update(MailRow)
        .where(col(MailRow.id) == row.id, col(MailRow.due_at) == row.due_at)
        .values(due_at=now + LEASE, tries=row.tries + 1)
        .execution_options(synchronize_session=False)
    )
    if session.connection().execute(mine).rowcount != 1:
        return None
    session.refresh(row)
    return row


def sent(session: Session, number: int, now: int) -> None:
    """The server took it."""
    session.execute(update(MailRow).where(col(MailRow.id) == number).values(due_at=None, sent_at=now, error=""))


def failed(session: Session, row: MailRow, now: int, why: str) -> None:
    """It did not: the row waits longer than before, or is given up."""
    wait = min(RETRY * 2 ** min(row.tries - 1, 20), LONGEST_WAIT)
    due_at = None if now - row.written_at > PATIENCE else now + wait
    session.execute(update(MailRow).where(col(MailRow.id) == row.id).values(due_at=due_at, error=why[:500]))


def standing(session: Session) -> Standing:
    """Return how the outbox is."""
    waiting = session.exec(select(func.count()).where(col(MailRow.due_at).is_not(None))).one()
    sent_ = session.exec(select(func.count()).where(col(MailRow.sent_at).is_not(None))).one()
    lost = select(func.count()).where(col(MailRow.due_at).is_(None), col(MailRow.sent_at).is_(None))
    last = select(MailRow.error).where(col(MailRow.due_at).is_not(None), MailRow.error != "")
    error = session.exec(last.order_by(col(MailRow.id).desc()).limit(1)).first()
    return Standing(waiting, sent_, session.exec(lost).one(), error or "")


def message(config: MailConfig, row: MailRow) -> EmailMessage:
    """Return the row as a message that a person can read and an auto-responder leaves alone (RFC 3834)."""
    made = EmailMessage(_ONE_LINE)
    name, address = parseaddr(config.sender)
    made["From"] = Address(name or "Schoolgate", addr_spec=address)
    made["To"] = Address(addr_spec=row.to)
    made["Subject"] = row.subject
    made["Date"] = formatdate(row.written_at)
    made["Message-ID"] = row.message_id
    if row.in_reply_to:
        made["In-Reply-To"] = made["References"] = row.in_reply_to
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(row.body)
    return made


def deliver(config: MailConfig, row: MailRow, deadline: float = DEADLINE) -> None:
    """Give one mail to the server. Raises `NotSent` or `BadMail`. `deadline` in seconds, whatever the server does."""
    asyncio.run(_deliver(config, message(config, row), deadline))


async def _deliver(config: MailConfig, made: EmailMessage, deadline: float) -> None:
    encrypted = config.security != "none"
    try:
        async with asyncio.timeout(deadline):
            await aiosmtplib.send(
                made,
                hostname=config.host,
                port=config.port,
                username=config.user or None,
                password=_password(config) if config.user else None,
                use_tls=config.security == "tls",
                start_tls=config.security == "starttls",
                tls_context=_context(config) if encrypted else None,
                timeout=deadline,
            )
    except TimeoutError:
        raise NotSent(f"{config.host} did not finish within {deadline:.0f} s", reached=False) from None
    except (aiosmtplib.SMTPConnectError, aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError) as error:
        raise NotSent(f"{config.host}: {error}", reached=False) from None
    except aiosmtplib.SMTPRecipientsRefused as error:
        raise NotSent("; ".join(f"{one.code} {one.message}" for one in error.recipients), reached=True) from None
    except aiosmtplib.SMTPResponseException as error:
        raise NotSent(f"{config.host}: {error.code} {error.message}", reached=True) from None
    except (aiosmtplib.SMTPException, OSError) as error:
        raise NotSent(f"{config.host}: {error}", reached=False) from None
