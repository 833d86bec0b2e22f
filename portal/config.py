"""What a portal is told: one frozen value, made by `deploy.settings` and handed down."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class ProviderKind(StrEnum):
    GOOGLE = "google"
    ENTRA = "entra"


@dataclass(frozen=True, slots=True)
class OidcConfig:
    """An identity provider. Students can authenticate there too: `domains` (Google) and `tenant` with `staff_role`
    (Entra) say what its word must hold before an account here is looked for."""

    kind: ProviderKind
    issuer: str  # exactly as in its tokens; https, or http on a loopback address
    client_id: str
    client_secret: str = field(repr=False)
    domains: tuple[str, ...] = ()  # of the Google Workspace: one must be the token's `hd`
    tenant: str = ""  # the directory's id: the token's `tid`
    staff_role: str = ""  # the app role that the token's `roles` must name
    link_by_email: bool = True  # the first sign-in finds its account by the verified e-mail address


@dataclass(frozen=True, slots=True)
class MailConfig:
    """The mail server that takes alerts, and who gets them. `to` empty: every administrator."""

    host: str
    port: int
    security: str  # starttls, tls, none
    sender: str
    to: tuple[str, ...] = ()
    user: str = ""
    password_file: Path | None = None  # mode 0600
    ca: Path | None = None  # PEM file of the server's authorities; None: the system's


@dataclass(frozen=True, slots=True)
class PortalConfig:
    """`url` is the address that people and nodes use; its host and `hosts` are the only ones answered (else 421)."""

    data: Path  # folder of the database file, keys and objects, mode 0700
    database: str  # SQLAlchemy URL
    address: str
    port: int
    url: str
    hosts: tuple[str, ...]
    demo: bool = False
    session_hours: int = 12
    private_lists: bool = False  # lists may come from private addresses, and over plain http
    secure_cookies: bool = False  # True behind https
    proxies: tuple[str, ...] = ()  # networks of reverse proxies: only their X-Forwarded-For is believed
    oidc: OidcConfig | None = None
    mail: MailConfig | None = None  # None: alerts are on pages and in metrics only
