"""What a provider's word says about a person: who they are there, and whether they may be an employee.

Students have accounts at the same provider. Google knows no groups: `hd` must be one of the district's domains, the
address verified, and who is an employee is what the accounts here say. Entra: `tid` must be the district's tenant and
the app role for staff among `roles`; people are known by `oid` with `tid`, never by an address, which can change.
Roles here never come from a token.
"""

from __future__ import annotations

from dataclasses import dataclass

from portal.config import OidcConfig, ProviderKind
from portal.oidc.id_token import Claims

_MAX_EMAIL = 254


@dataclass(frozen=True, slots=True)
class Claimed:
    """`subject` is stable and never given to somebody else. `email` is empty unless the provider vouches for it."""

    issuer: str
    subject: str
    email: str


class NotStaff(Exception):
    """Authenticated, and not one of the district's employees. `str()` names the check, for the log."""


def claimed(config: OidcConfig, claims: Claims) -> Claimed:
    """Return who it is. Raises `NotStaff`."""
    if config.kind is ProviderKind.GOOGLE:
        return _google(config, claims)
    return _entra(config, claims)


def _google(config: OidcConfig, claims: Claims) -> Claimed:
    domain = claims.get("hd")
    if not isinstance(domain, str) or domain.lower() not in config.domains:
        raise NotStaff("hd")
    if claims.get("email_verified") is not True:
        raise NotStaff("email_verified")
    return Claimed(config.issuer, str(claims["sub"]), _email(claims.get("email")))


def _entra(config: OidcConfig, claims: Claims) -> Claimed:
    tenant, person = claims.get("tid"), claims.get("oid")
    if tenant != config.tenant:
        raise NotStaff("tid")
    if not isinstance(person, str) or not 0 < len(person) <= 64:
        raise NotStaff("oid")
    roles = claims.get("roles")
    if not isinstance(roles, list) or config.staff_role not in roles:
        raise NotStaff("roles")
    # An address in Entra is whatever was typed there, unless its domain's owner is verified.
    vouched = claims.get("email_verified") is True or claims.get("xms_edov") in (True, 1, "1", "true")
    return Claimed(config.issuer, f"{config.tenant}/{person}", _email(claims.get("email")) if vouched else "")


def _email(text: object) -> str:
    if not isinstance(text, str) or len(text) > _MAX_EMAIL or not text.isprintable():
        return ""
    return text.strip().lower()
