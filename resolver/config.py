"""What a resolver is told: one frozen value, made by `deploy.settings` and handed down. No reading of files here."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and port, IPv4 or IPv6, UDP and TCP."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class SecureEndpoint(Endpoint):
    """An upstream that is spoken to over TLS only (RFC 7858); its certificate must be for `host`."""

    host: str

    def __str__(self) -> str:
        return f"tls://{self.host}@{Endpoint(self.address, self.port)}"


@dataclass(frozen=True, slots=True)
class HttpsEndpoint(SecureEndpoint):
    """An upstream that is spoken to over HTTPS only (RFC 8484), at `path`; its certificate must be for `host`."""

    path: str

    @property
    def authority(self) -> str:
        """Whom a request is for: the host, and the port unless it is 443."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"https://{self.host}@{Endpoint(self.address, self.port)}{self.path}"


@dataclass(frozen=True, slots=True)
class LocalRecord:
    """A record of the district's own, class IN. `name` is a lower-cased wire name, as are the names within the data of
    CNAME and PTR; `ttl` is in seconds."""

    name: bytes
    rtype: int
    ttl: int
    rdata: bytes


@dataclass(frozen=True, slots=True)
class Forward:
    """A zone of the district's own and the servers that know it, nobody else. `zone` is a lower-cased wire name."""

    zone: bytes
    servers: tuple[Endpoint, ...]


# Loopback, RFC 1918, RFC 6598 and RFC 4193 networks: who may ask unless the settings say otherwise.
PRIVATE_NETWORKS = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)


@dataclass(frozen=True, slots=True)
class ResolverConfig:
    """Times in seconds, sizes in bytes."""

    listen: tuple[Endpoint, ...]
    upstreams: tuple[Endpoint, ...]
    state: Path  # this node's folder, mode 0700
    workers: int = 1
    allow: tuple[str, ...] = PRIVATE_NETWORKS
    udp_size: int = 1232  # our own EDNS size (DNS flag day 2020, RFC 9715)
    cache_bytes: int = 64 * 1024 * 1024  # per worker
    memo_entries: int = 100_000  # per worker, finished answers
    max_ttl: int = 86_400
    max_negative_ttl: int = 3_600
    failure_ttl: int = 5
    local: tuple[LocalRecord, ...] = ()  # answered from memory, before cache and upstream
    forward: tuple[Forward, ...] = ()
    upstream_ca: Path | None = None  # authorities that sign upstreams' certificates; None: the system's
    portal_ca: Path | None = None  # the same for the portal's
    upstream_timeout: float = 1.5  # for one try
    upstream_tries: int = 3
    loop_check: float = 0.0  # seconds between two questions whether an upstream leads back to us; 0: never
    max_inflight: int = 10_000  # questions waiting for upstream, per worker
    tcp_idle: float = 10.0
    tcp_connections: int = 1_000  # per worker
    tcp_per_client: int = 50
    proxy_from: tuple[str, ...] = ()  # networks whose PROXY headers say who asks
    ecs_from: tuple[str, ...] = ()  # networks whose client subnets do
    rate_limit: int = 1_000  # questions a second over UDP, per client and worker; 0: no limit
    rate_burst: int = 5_000
    rate_exempt: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    cookie_secrets: tuple[bytes, ...] = field(default=(), repr=False)  # 16 octets each; none: derived from the seed
    cookie_seed: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)  # shared by the workers
    query_log: bool = True
    metrics: Endpoint | None = None  # where Prometheus scrapes; a loopback address
    block_page: Endpoint | None = None  # where browsers land that were given this address for a blocked name
    dot: tuple[Endpoint, ...] = ()  # DNS over TLS
    doh: tuple[Endpoint, ...] = ()  # DNS over HTTPS
    server_name: str = ""  # what devices know the encrypted listeners by; profiles are below it
    certificate: Path | None = None  # PEM: for `server_name` and the names below it, with its chain
    certificate_key: Path | None = None
    user: str = ""  # drop privileges to this user when started as root
    group: str = ""
