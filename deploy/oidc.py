"""`[portal.oidc]`: the district's identity provider, and the file of the client's secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from portal import private
from portal.config import OidcConfig, ProviderKind
from portal.oidc.addresses import is_safe
from portal.private import Exposed

GOOGLE = "https://accounts.google.com"
ENTRA = "https://login.microsoftonline.com/{tenant}/v2.0"
_TENANT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_DOMAIN = re.compile(r"([a-z0-9-]{1,63}\.)+[a-z0-9-]{2,63}\Z")
_MAX_SECRET = 500


class BadSecretFile(ValueError):
    """The client's secret cannot be used; `str()` says what to do."""


def _domain_text(text: str) -> str:
    if not _DOMAIN.match(text.lower()):
        raise ValueError(f"{text!r} is no domain; write district.example")
    return text.lower()


def _tenant_text(text: str) -> str:
    if text and not _TENANT.match(text.lower()):
        raise ValueError(f"{text!r} is no tenant id; write the directory's id, 8-4-4-4-12 hex digits, never `common`")
    return text.lower()


def _issuer_text(text: str) -> str:
    if text and (not is_safe(text, loopback=True) or text.endswith("/") or "?" in text):
        raise ValueError(f"{text!r}: write an https address without a final slash")
    return text


class OidcSection(BaseModel):
    """`[portal.oidc]`"""

    model_config = ConfigDict(extra="forbid")

    provider: Literal["", "google", "entra"] = Field("", description="`google` or `entra`; empty: passwords only")
    client_id: str = Field("", max_length=200, description="the client's id, from the provider's console")
    client_secret_file: Path | None = Field(None, description="file with the client's secret, mode 0600")
    domains: list[Annotated[str, AfterValidator(_domain_text)]] = Field(
        [], description="Google: the Workspace's domains; nobody of another signs in"
    )
    tenant: Annotated[str, AfterValidator(_tenant_text)] = Field("", description="Entra: the directory (tenant) id")
    staff_role: str = Field("Staff", max_length=100, description="Entra: value of the app role that employees have")
    link_by_email: bool = Field(True, description="the first sign-in finds its account by the verified address")
    issuer: Annotated[str, AfterValidator(_issuer_text)] = Field(
        "", description="issuer, for a national cloud; empty: the provider's usual one"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.provider:
            return self
        needed: dict[str, object] = {"client_id": self.client_id, "client_secret_file": self.client_secret_file}
        needed |= {"domains": self.domains} if self.provider == "google" else {"tenant": self.tenant}
        if self.provider == "entra":
            needed["staff_role"] = self.staff_role
        missing = [name for name, value in needed.items() if not value]
        if missing:
            raise ValueError(f"provider {self.provider} needs {', '.join(missing)}")
        return self


def oidc_config(section: OidcSection, url: str) -> OidcConfig | None:
    """Return what the portal at `url` is told, with the secret read from its file; None without a provider. Raises
    `BadSecretFile`."""
    if not section.provider or section.client_secret_file is None:
        return None
    if not is_safe(url, loopback=True):
        raise BadSecretFile(f"sign-in at a provider needs https: set `url` in [portal] (it is {url})")
    usual = GOOGLE if section.provider == "google" else ENTRA.format(tenant=section.tenant)
    return OidcConfig(
        kind=ProviderKind(section.provider),
        issuer=section.issuer or usual,
        client_id=section.client_id,
        client_secret=_secret(section.client_secret_file),
        domains=tuple(section.domains),
        tenant=section.tenant,
        staff_role=section.staff_role,
        link_by_email=section.link_by_email,
    )


def _secret(path: Path) -> str:
    try:
        text = private.read(path, "the secret", _MAX_SECRET + 1).decode("ascii").strip()
    except Exposed as error:
        raise BadSecretFile(f"{error}.") from None
    except OSError as error:
        raise BadSecretFile(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        text = ""
    if not text or len(text) > _MAX_SECRET or not text.isprintable():
        raise BadSecretFile(f"{path} does not hold one line with the client's secret")
    return text
