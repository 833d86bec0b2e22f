"""What a portal is told: one frozen value, made by `deploy.settings` and handed down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
