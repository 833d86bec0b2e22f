"""Tables of people, their sessions and the tokens."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column
from sqlmodel import Field, SQLModel

from portal.models.columns import word
from portal.models.words import Role, Scope


class User(SQLModel, table=True):
    __tablename__ = "account"

    id: int | None = Field(default=None, primary_key=True)
    email: str = Field(unique=True, index=True)  # lower case
    name: str
    password_hash: str = ""  # argon2id; empty: cannot sign in with a password
    roles: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    site_id: str | None = Field(default=None, foreign_key="site.id")
    demo: bool = False  # signs in with one click, on a demo portal only
    disabled_at: int | None = Field(default=None, sa_type=BigInteger)
    created_at: int = Field(sa_type=BigInteger)
    sourced_id: str | None = Field(default=None, unique=True, index=True)  # the roster's id of this person


class ExternalIdentity(SQLModel, table=True):
    """Who an identity provider says somebody is: its issuer and their stable subject there, never an address."""

    __tablename__ = "external_identity"

    issuer: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    user_id: int = Field(foreign_key="account.id", index=True)
    linked_at: int = Field(sa_type=BigInteger)


class SecondFactor(SQLModel, table=True):
    """A person's authenticator (RFC 6238). The secret is sealed with a key that the database does not hold."""

    __tablename__ = "second_factor"

    user_id: int = Field(primary_key=True, foreign_key="account.id")
    sealed: str  # AES-256-GCM, base64
    recovery: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))  # SHA-256 of unused ones
    last_step: int = Field(default=0, sa_type=BigInteger)  # the newest time step used: no code counts twice
    created_at: int = Field(sa_type=BigInteger)
    confirmed_at: int | None = Field(default=None, sa_type=BigInteger)  # None: begun, not in force


class SignInStep(SQLModel, table=True):
    """A browser in the middle of signing in: it waits for a one-time code, or is at the identity provider."""

    __tablename__ = "sign_in_step"

    secret_hash: str = Field(primary_key=True)
    kind: str  # `code` or `oidc`
    user_id: int | None = Field(default=None, foreign_key="account.id")
    data: dict[str, str] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    expires_at: int = Field(sa_type=BigInteger)


class WebSession(SQLModel, table=True):
    """A signed-in browser. The cookie holds the secret, the row only its hash."""

    __tablename__ = "web_session"

    secret_hash: str = Field(primary_key=True)
    user_id: int = Field(foreign_key="account.id", index=True)
    csrf: str
    created_at: int = Field(sa_type=BigInteger)
    last_seen_at: int = Field(sa_type=BigInteger)
    expires_at: int = Field(sa_type=BigInteger)


class ApiToken(SQLModel, table=True):
    """A bearer token: a person's (`owner_id`) or a machine's (no owner). A machine token never decides."""

    __tablename__ = "api_token"

    id: int | None = Field(default=None, primary_key=True)
    name: str
    secret_hash: str = Field(unique=True, index=True)
    role: Role = word(Role)
    scope: Scope = word(Scope, default=Scope.CHANGE)
    owner_id: int | None = Field(default=None, foreign_key="account.id")
    created_by: str
    created_at: int = Field(sa_type=BigInteger)
    expires_at: int | None = Field(default=None, sa_type=BigInteger)
    revoked_at: int | None = Field(default=None, sa_type=BigInteger)
    last_used_at: int | None = Field(default=None, sa_type=BigInteger)
