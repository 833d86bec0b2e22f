"""How a resolver becomes a node: a one-time token in, an identity file out.

The token carries the fingerprint of the portal's key, so a portal that answers with another key is refused before
anything is kept. The identity's credential opens `/api/v1/node/*` and nothing else.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from resolver import durable
from resolver.delivery.policy_store import Pin
from resolver.upstreams.channel import client_context

IDENTITY = "identity.json"
SOFTWARE = "schoolgate"
_TOKEN = re.compile(r"sgn_[A-Za-z0-9_-]{16,200}\.([0-9a-f]{64})")
_ANSWER_LIMIT = 64 * 1024


class EnrolmentFailed(Exception):
    """Why this resolver did not become a node; nothing was written."""


class BadIdentity(Exception):
    """The identity file is missing, damaged, or readable by others. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is to its portal."""

    node: int
    credential: str
    portal: str  # scheme://host[:port], no path
    district: str
    public_key: str  # 32 bytes in hex
    name: str
    sites: tuple[str, ...]

    @property
    def pin(self) -> Pin:
        return Pin(self.district, bytes.fromhex(self.public_key))


def portal_address(text: str) -> str:
    """Return `text` as `scheme://host[:port]`. Raises `EnrolmentFailed`: plain http reaches loopback only."""
    parts = urlsplit(text.strip())
    try:
        port = parts.port
    except ValueError:
        raise EnrolmentFailed(f"{text!r}: the port is no number") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.path.strip("/"):
        raise EnrolmentFailed(f"{text!r} is no portal address: write it as https://portal.example.org")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise EnrolmentFailed(f"{text!r}: plain http is for this machine only; use https")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def is_loopback(host: str) -> bool:
    """True for `localhost` and the loopback addresses."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def enrol(
    portal_url: str, token_text: str, name: str, sites: Sequence[str], state: Path, ca: Path | None = None
) -> Identity:
    """Spend the one-time token, keep and return this node's identity. `ca`: who signs the portal's certificate, the
    system's authorities when None. Raises `EnrolmentFailed`."""
    import httpx
    from pydantic import ValidationError

    from blocklists.exchange import Enrolled, Enrolment
    from blocklists.signature import fingerprint

    portal = portal_address(portal_url)
    token = token_text.strip()
    if (match := _TOKEN.fullmatch(token)) is None:
        raise EnrolmentFailed("this is no enrolment token: copy the whole line, it begins with sgn_")
    try:
        durable.private_folder(state)
        body = Enrolment(name=name, sites=list(sites), software=SOFTWARE)
        direct = is_loopback(urlsplit(portal).hostname or "")
        with httpx.Client(timeout=15, trust_env=not direct, verify=client_context(ca)) as client:
            answer = client.post(
                f"{portal}/api/v1/node/enroll",
                json=body.model_dump(mode="json"),
                headers={"Authorization": f"Bearer {token}"},
            )
        if answer.status_code not in (200, 201):
            raise EnrolmentFailed(f"the portal said {answer.status_code}: {said(answer.content)}")
        enrolled = Enrolled.model_validate_json(answer.content[:_ANSWER_LIMIT])
    except httpx.HTTPError as error:
        raise EnrolmentFailed(f"the portal at {portal} did not answer: {error or type(error).__name__}") from error
    except ValidationError as error:
        what = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
        raise EnrolmentFailed(f"not what was expected: {what}") from error
    except OSError as error:
        raise EnrolmentFailed(f"{state} cannot be used: {error.strerror or error}") from error
    if fingerprint(bytes.fromhex(enrolled.public_key)) != match[1]:
        raise EnrolmentFailed(
            f"{portal} holds another key than the token names: this is not the portal that made the token"
        )
    identity = Identity(
        enrolled.node, enrolled.credential, portal, enrolled.district, enrolled.public_key, name, tuple(sites)
    )
    try:
        durable.write(state / IDENTITY, json.dumps(asdict(identity), indent=1).encode() + b"\n", 0o600)
    except OSError as error:
        raise EnrolmentFailed(f"{state / IDENTITY} cannot be written: {error.strerror or error}") from error
    return identity


def said(body: bytes) -> str:
    """Return what a problem+json answer says to a person, in at most 300 characters."""
    try:
        plain: Any = json.loads(body[:_ANSWER_LIMIT])
        return str(plain.get("detail") or plain.get("title") or "no reason given")[:300]
    except (ValueError, AttributeError, RecursionError):
        return body[:300].decode("utf-8", "replace").strip() or "no reason given"


def read_identity(state: Path) -> Identity:
    """Return the identity kept in `state`. Raises `BadIdentity`."""
    path = state / IDENTITY
    try:
        mode = path.stat().st_mode & 0o777
        if mode & 0o177:
            raise BadIdentity(f"{path} has mode {mode:04o}: others could read it; run `chmod 600 {path}`")
        plain: Any = json.loads(path.read_bytes())
        identity = Identity(**{**plain, "sites": tuple(plain["sites"])})
        for value in (identity.credential, identity.portal, identity.district, identity.name, *identity.sites):
            if type(value) is not str:
                raise TypeError("a text belongs there")
        if type(identity.node) is not int or len(bytes.fromhex(identity.public_key)) != 32:
            raise TypeError("node is a number, public_key 32 bytes in hex")
        portal_address(identity.portal)
    except FileNotFoundError:
        raise BadIdentity("this resolver is not enrolled: run `schoolgate node enroll`") from None
    except OSError as error:
        raise BadIdentity(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, EnrolmentFailed) as error:
        raise BadIdentity(f"{path} is damaged ({error}): enrol again with `schoolgate node enroll`") from None
    return identity
