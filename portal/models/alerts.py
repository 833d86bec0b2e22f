"""Tables of what an administrator is told about: alerts that began and ended, and the mail that says so."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, Index, text
from sqlmodel import Field, SQLModel

from portal.models.columns import word


class AlertKind(StrEnum):
    BEHIND = "node-behind"
    SILENT = "node-silent"
    CLOCK = "node-clock"
    REFUSED = "node-refused"
    TROUBLE = "node-trouble"
    PUBLISHING = "publishing"
    DISK = "disk"
    LIST = "list"
    LISTS = "lists"


class AlertRow(SQLModel, table=True):
    """One trouble from its beginning to its end. Of one kind and subject one is open at a time."""

    __tablename__ = "alert"
    __table_args__ = (
        Index(
            "ix_alert_open",
            "kind",
            "subject",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    kind: AlertKind = word(AlertKind)
    subject: str  # `node:3`, `list:urlhaus`, `portal:HOST:PORT`
    title: str
    detail: str
    began_at: int = Field(sa_type=BigInteger)
    ended_at: int | None = Field(default=None, index=True, sa_type=BigInteger)


class MailRow(SQLModel, table=True):
    """One mail to one person, until it is sent or given up. Who tries moves `due_at` on first: that is the claim."""

    __tablename__ = "mail"

    id: int | None = Field(default=None, primary_key=True)
    message_id: str = Field(unique=True)  # the same at every try: a mail system drops a second copy
    in_reply_to: str = ""
    to: str
    subject: str
    body: str
    written_at: int = Field(sa_type=BigInteger)
    due_at: int | None = Field(default=None, index=True, sa_type=BigInteger)  # None: sent or given up
    tries: int = 0
    error: str = ""
    sent_at: int | None = Field(default=None, sa_type=BigInteger)
