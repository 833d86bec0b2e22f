"""Tables of people, their sessions and the tokens."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column
from sqlmodel import Field, SQLModel

from portal.models.columns import word
from portal.models.words import Role


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
    owner_id: int | None = Field(default=None, foreign_key="account.id")
    created_by: str
    created_at: int = Field(sa_type=BigInteger)
    expires_at: int | None = Field(default=None, sa_type=BigInteger)
    revoked_at: int | None = Field(default=None, sa_type=BigInteger)
    last_used_at: int | None = Field(default=None, sa_type=BigInteger)
