"""A real mail server on loopback that a test can tell to refuse, to be slow, or to be away."""

from __future__ import annotations

import asyncio
import email
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from portal.config import MailConfig
from tests.portal.gatehouse import free_port


@dataclass
class Mailroom:
    """What came in. `says`: instead of taking a mail; `pause`: seconds before the answer; `knows`: recipients."""

    port: int
    got: list[EmailMessage] = field(default_factory=list)
    clear: list[bool] = field(default_factory=list)  # of each mail, whether it came unencrypted
    tries: int = 0
    says: str = ""
    pause: float = 0.0
    refused: frozenset[str] = frozenset()

    @property
    def to(self) -> list[str]:
        return [str(one["To"]) for one in self.got]

    def config(self, **more: Any) -> MailConfig:
        return MailConfig(
            **{
                "host": "127.0.0.1",
                "port": self.port,
                "security": "none",
                "sender": "Gate <gate@district.example>",
                **more,
            }
        )

    async def handle_RCPT(self, server: Any, session: Session, envelope: Envelope, address: str, _: Any) -> str:
        if address in self.refused:
            return "550 nobody here has this name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        self.tries += 1
        await asyncio.sleep(self.pause)
        if self.says:
            return self.says
        assert isinstance(envelope.content, bytes)
        self.got.append(email.message_from_bytes(envelope.content, policy=policy.default))
        self.clear.append(session.ssl is None)
        return "250 taken"


@contextmanager
def open_mailroom(
    context: ssl.SSLContext | None = None, password: str = "", port: int | None = None, room: Mailroom | None = None
) -> Iterator[Mailroom]:
    """A server that answers when the block begins; with `context` it offers STARTTLS, with `password` it demands it."""
    room = room or Mailroom(port or free_port())

    def sign_in(server: Any, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=isinstance(data, LoginPassword) and data.password == password.encode())

    controller = Controller(
        room,
        hostname="127.0.0.1",
        port=room.port,
        tls_context=context,
        authenticator=sign_in if password else None,
        auth_required=bool(password),
        require_starttls=bool(password),
    )
    controller.start()
    try:
        yield room
    finally:
        controller.stop()
