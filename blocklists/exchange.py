"""The shapes that portal and node send each other over HTTP.

A node opens `GET /api/v1/node/stream` and gets offers; it fetches what it lacks from `/api/v1/node/objects/{sha256}`;
it answers with an `Ack` or a `Nack`, and sends its `NodeStatus` every few seconds.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

ENOUGH = 5  # devices: counts over fewer are shown to nobody
MAX_ASKED = 2000  # names that many devices asked for
MAX_MISSING = 8  # nodes named to another one, those silent longest first
MAX_CATEGORIES = 8  # of a group's hour, the most blocked ones
MAX_USED = 3_000  # names of grants in one status

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Short = Annotated[str, Field(min_length=1, max_length=200)]
Version = Annotated[int, Field(ge=1, le=2**53)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Enrolment(_Message):
    """What a node sends once, with its one-time token as bearer: who it is and which sites it serves."""

    name: Short
    sites: Annotated[list[Short], Field(max_length=1000)]
    software: Short


class Enrolled(_Message):
    """What it gets back: its identity, its credential (never shown again), and the key to pin."""

    node: int
    credential: Short
    district: Short
    public_key: Digest  # 32 bytes in hex


class Succession(_Message):
    """A key names the next one: who signs from `at` on (seconds), and until when the old key is accepted too."""

    public_key: Digest  # 32 bytes in hex
    at: Annotated[int, Field(ge=0, le=2**53)]
    old_until: Annotated[int, Field(ge=0, le=2**53)]
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]  # by the old key


class Offer(_Message):
    """A snapshot version to fetch: digest of the policy bytes, their signature, and the digest of its base.

    `keys`: the portal's keys since the first one, for a node that pinned an older one.
    """

    version: Version
    digest: Digest
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
    base: Digest
    keys: Annotated[tuple[Succession, ...], Field(max_length=64)] = ()


class Ack(_Message):
    """Verified, persisted and swapped in by every worker."""

    version: Version
    digest: Digest


class Nack(_Message):
    """Refused, and why; the node keeps serving what it had."""

    version: Version
    digest: Digest
    reason: Annotated[str, Field(min_length=1, max_length=500)]


Count = Annotated[int, Field(ge=0, le=2**53)]
Devices = Annotated[int, Field(ge=0, le=ENOUGH)]  # how many there were, counted up to this many


class MinuteCount(_Message):
    """What was asked in one minute, `at` its start in seconds since 1970."""

    at: Annotated[int, Field(ge=0, le=2**53)]
    queries: Count
    blocked: Count


class CategoryCount(_Message):
    category: Short
    blocked: Count
    devices: Devices


class GroupHour(_Message):
    """What one group asked in one clock hour; `hour` is its start. `forwarder`: one address asks like a server that
    forwards for others."""

    hour: Annotated[int, Field(ge=0, le=2**53)]
    group: Short
    queries: Count
    blocked: Count
    bypass: Count
    devices: Devices
    bypass_devices: Devices
    forwarder: bool
    categories: Annotated[list[CategoryCount], Field(max_length=MAX_CATEGORIES)]


class GrantUse(_Message):
    """A name of a grant that somebody asked for; `day` is the last one, its start in UTC."""

    grant: Annotated[int, Field(ge=1, le=2**53)]
    entry: Short
    day: Annotated[int, Field(ge=0, le=2**53)]


class AskedName(_Message):
    """A name, and the share of a node's devices that asked for it in a day, in thousandths."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    permille: Annotated[int, Field(ge=0, le=1000)]


class AskedDay(_Message):
    """The names that many devices asked for in the day that begins at `day`, and that were not blocked."""

    day: Annotated[int, Field(ge=0, le=2**53)]
    names: Annotated[list[AskedName], Field(max_length=MAX_ASKED)]


class Sight(_Message):
    """What a node counted: the last half hour, and (not with every status) each group's present and last hour and what
    many devices asked for in the last day, and the names of grants in use, a piece at a time. No client is named."""

    minutes: Annotated[list[MinuteCount], Field(max_length=60)]
    groups: Annotated[list[GroupHour], Field(max_length=4000)]
    asked: AskedDay | None = None
    used: Annotated[list[GrantUse], Field(max_length=MAX_USED)] | None = None


class NodeStatus(_Message):
    """A node's health. `version` and `digest` are what its workers serve now; None before the first snapshot."""

    version: Version | None
    digest: Digest | None
    workers: Annotated[int, Field(ge=0, le=1024)]
    workers_ready: Annotated[int, Field(ge=0, le=1024)]
    clock: float  # the node's own clock, seconds since 1970: the portal shows the skew
    queries: Annotated[int, Field(ge=0)]  # since the node started
    blocked: Annotated[int, Field(ge=0)]
    cached: Annotated[int, Field(ge=0)] = 0  # answered at once, from memo or cache
    listening: Annotated[list[Short], Field(max_length=64)]
    last_error: Annotated[str, Field(max_length=500)] = ""
    engine: Annotated[str, Field(max_length=40)] = ""  # which one answers: `plain`, or a native twin
    sight: Sight | None = None


class Missing(_Message):
    """A node that lacks the newest version. `silent`: seconds since it was last heard; None: never."""

    name: Short
    silent: Annotated[int | None, Field(ge=0, le=2**53)]


class Reach(_Message):
    """What a portal answers to a heartbeat: how far its newest version has come, at most `MAX_MISSING` by name."""

    version: Version | None
    acked: Count
    expected: Count
    missing: Annotated[tuple[Missing, ...], Field(max_length=MAX_MISSING)] = ()

    def sentence(self) -> str:
        """Return it as request pages say it; empty before the first version."""
        if self.version is None:
            return ""
        said = f"version {self.version} in force on {self.acked} of {self.expected} resolvers"
        names = [f"{one.name}, {_last_seen(one.silent)}" for one in self.missing]
        if more := self.expected - self.acked - len(names):
            names.append(f"{more} more")
        return f"{said}; waiting for {'; '.join(names)}" if names else said


def _last_seen(silent: int | None) -> str:
    if silent is None:
        return "never seen"
    if silent < 60:
        return "last seen just now" if silent < 20 else f"last seen {silent} s ago"
    for seconds, word in ((86_400, "d"), (3600, "h"), (60, "min")):
        if silent >= seconds:
            return f"last seen {silent // seconds} {word} ago"
    raise AssertionError
