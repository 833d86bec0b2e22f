"""Table of device profiles: tokens by which a device of ours is known wherever it is."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class DeviceProfile(SQLModel, table=True):
    """One token of a group, in a set-up that devices get. Only its digest is kept."""

    __tablename__ = "device_profile"

    id: int | None = Field(default=None, primary_key=True)
    group_id: str = Field(foreign_key="client_group.id", index=True)
    name: str  # which devices it is for
    digest: str = Field(unique=True)  # SHA-256 of the token, hex
    created_by: int = Field(foreign_key="account.id")
    created_at: int = Field(sa_type=BigInteger)
    ended_at: int | None = Field(default=None, sa_type=BigInteger)
