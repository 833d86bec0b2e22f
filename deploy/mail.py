"""`[portal.mail]`: the mail server that takes alerts, and who gets them."""

from __future__ import annotations

import re
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from portal.config import MailConfig
from resolver.delivery.enrolment import is_loopback


def _mailbox(text: str) -> str:
    if not re.fullmatch(r"[^@\s<>]{1,64}@[A-Za-z0-9.-]{1,253}", parseaddr(text)[1]):
        raise ValueError(f"{text!r} is no address of mail; write schoolgate@district.example")
    return text


Mailbox = Annotated[str, AfterValidator(_mailbox)]
MaybeMailbox = Annotated[str, AfterValidator(lambda text: _mailbox(text) if text else text)]


class MailSection(BaseModel):
    """`[portal.mail]`"""

    model_config = ConfigDict(extra="forbid")

    host: str = Field("", max_length=253, description="mail server that takes alerts; empty: no mail is sent")
    port: int = Field(587, ge=1, le=65535, description="its port")
    security: Literal["starttls", "tls", "none"] = Field("starttls", description="starttls, tls, or none")
    sender: MaybeMailbox = Field("", description="address that alerts come from")
    to: list[Mailbox] = Field([], description="who gets alerts; empty: every administrator")
    username: str = Field("", description="name to sign in with; empty: the server takes mail without")
    password_file: Path | None = Field(None, description="file of its password, mode 0600")
    ca: Path | None = Field(None, description="PEM file of the authorities of the server's certificate")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.host and not self.sender:
            raise ValueError("`host` needs a `sender`: the address that alerts come from")
        if bool(self.username) != (self.password_file is not None):
            raise ValueError("`username` and `password_file` go together")
        if self.username and self.security == "none" and not is_loopback(self.host):
            raise ValueError("a password is not sent unencrypted: set `security` to starttls or tls")
        return self


def mail_config(section: MailSection) -> MailConfig | None:
    """Return what the portal is told; None without a server. `portal.upkeep.mail.check` looks into the files."""
    if not section.host:
        return None
    return MailConfig(
        host=section.host,
        port=section.port,
        security=section.security,
        sender=section.sender,
        to=tuple(parseaddr(text)[1] for text in section.to),
        user=section.username,
        password_file=section.password_file,
        ca=section.ca,
    )
