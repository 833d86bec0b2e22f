"""Settings: one TOML file, over it the environment (`SCHOOLGATE_RESOLVER__WORKERS=4`), over that the command line.

Every mistake is reported at once, with its place; an unknown key is a mistake. The values that resolver and portal
get are the frozen ones of `resolver.config` and `portal.config`: nothing below this module reads a file or a variable.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from blocklists import names
from deploy.endpoints import (
    HTTP_PORT,
    HTTPS_PORT,
    TLS_PORT,
    parse_endpoint,
    parse_forward,
    parse_upstream,
    system_upstreams,
)
from deploy.local_records import parse_record, parse_records
from deploy.mail import MailSection, mail_config
from deploy.oidc import OidcSection
from portal.config import PortalConfig
from resolver.clients.certificates import server_context
from resolver.config import PRIVATE_NETWORKS, ResolverConfig
from resolver.upstreams.channel import client_context

PREFIX = "SCHOOLGATE_"
MAX_RECORDS = 10_000
MAX_ZONES = 1_000
MEMO_ENTRIES, MEMO_PER_MB = 100_000, 1_600  # finished answers of a worker, and of each MB of its cache


class BadSettings(ValueError):
    """One or more mistakes in the settings; `str()` lists them all, a line each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def _upstream_text(text: str) -> str:
    parse_upstream(text)
    return text


def _forward_texts(forward: dict[str, list[str]]) -> dict[str, list[str]]:
    parse_forward(forward)
    return forward


def _record_text(text: str) -> str:
    parse_record(text)
    return text


def _record_texts(texts: list[str]) -> list[str]:
    parse_records(texts)
    return texts


def _ca_file(path: Path | None) -> Path | None:
    try:
        client_context(path)
    except OSError as error:
        raise ValueError(f"{path}: no file of PEM certificates: {error.strerror or error}") from None
    return path


def _endpoint_text(text: str) -> str:
    parse_endpoint(text)
    return text


def _tls_endpoint_text(text: str) -> str:
    return str(parse_endpoint(text, TLS_PORT))


def _https_endpoint_text(text: str) -> str:
    return str(parse_endpoint(text, HTTPS_PORT))


def _server_name(text: str) -> str:
    try:
        return names.normalise(text) if text else ""
    except names.BadName as error:
        raise ValueError(f"{text!r}: {error}; write dns.district.example") from None


def _maybe_endpoint(text: str) -> str:
    if text:
        parse_endpoint(text, HTTP_PORT)
    return text


def _loopback_text(text: str) -> str:
    if text and not ipaddress.ip_address(parse_endpoint(text).address).is_loopback:
        raise ValueError(
            f"{text!r} is no loopback address: figures of a node are for this machine; write 127.0.0.1:9453"
        )
    return text


def _network_text(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"{error}; write 10.20.0.0/16") from None


def _url_text(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError(f"{text!r}: write https://schoolgate.district.example")
    return text.rstrip("/")


UpstreamText = Annotated[str, AfterValidator(_upstream_text)]
RecordTexts = Annotated[
    list[Annotated[str, AfterValidator(_record_text)]], Field(max_length=MAX_RECORDS), AfterValidator(_record_texts)
]
ForwardTexts = Annotated[dict[str, list[UpstreamText]], Field(max_length=MAX_ZONES), AfterValidator(_forward_texts)]
CaFile = Annotated[Path | None, AfterValidator(_ca_file)]
TlsEndpointText = Annotated[str, AfterValidator(_tls_endpoint_text)]
HttpsEndpointText = Annotated[str, AfterValidator(_https_endpoint_text)]
ServerName = Annotated[str, AfterValidator(_server_name)]
EndpointText = Annotated[str, AfterValidator(_endpoint_text)]
MaybeEndpoint = Annotated[str, AfterValidator(_maybe_endpoint)]
MaybeLoopback = Annotated[str, AfterValidator(_loopback_text)]
NetworkText = Annotated[str, AfterValidator(_network_text)]
SecretText = Annotated[str, Field(pattern="^[0-9a-fA-F]{32}$")]
UrlText = Annotated[str, AfterValidator(_url_text)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ResolverSection(_Section):
    """`[resolver]`"""

    listen: list[EndpointText] = Field(["127.0.0.1:5300"], description="addresses to answer on, UDP and TCP")
    upstreams: list[UpstreamText] = Field(
        [], description="resolvers to forward to; empty: those of /etc/resolv.conf, else Quad9"
    )
    upstream_ca: CaFile = Field(None, description="PEM file of the authorities of upstreams' certificates")
    forward: ForwardTexts = Field({}, description="zones of the district's own, each with the servers that know it")
    local: RecordTexts = Field([], description="records of the district's own: NAME [TTL] TYPE DATA")
    workers: int = Field(0, ge=0, le=64, description="processes that answer; 0: one per processor, at most four")
    allow: list[NetworkText] = Field(list(PRIVATE_NETWORKS), description="networks whose questions are answered")
    udp_size: int = Field(1232, ge=512, le=4096, description="largest UDP answer, bytes")
    cache_mb: int = Field(
        64,
        ge=1,
        le=8192,
        description="cache of upstream answers per worker, MB; finished answers take up to three times as much beside "
        "it, at most 190 MB",
    )
    max_ttl: int = Field(86_400, ge=60, le=604_800, description="longest time an answer is kept, seconds")
    max_negative_ttl: int = Field(3_600, ge=10, le=10_800, description="longest time a denial is kept, seconds")
    upstream_timeout_ms: int = Field(1_500, ge=100, le=10_000, description="patience for one try at an upstream")
    loop_check_s: int = Field(
        600, ge=0, le=86_400, description="seconds between two looks whether an upstream leads back here; 0: never"
    )
    tcp_idle_s: int = Field(10, ge=1, le=600, description="seconds that a TCP connection may be idle")
    tcp_per_client: int = Field(50, ge=1, le=100_000, description="open TCP connections per client and worker")
    tcp_connections: int = Field(1_000, ge=10, le=100_000, description="open TCP connections per worker")
    proxy_from: list[NetworkText] = Field(
        [], description="forwarders that must say by PROXY protocol (version 2) who asks"
    )
    ecs_from: list[NetworkText] = Field([], description="forwarders whose client subnet option says who asks")
    rate_limit: int = Field(
        1_000, ge=0, le=10_000_000, description="UDP questions a second, per client and worker; 0: no limit"
    )
    rate_burst: int = Field(5_000, ge=0, le=10_000_000, description="UDP questions of a client at once")
    rate_exempt: list[NetworkText] = Field(
        ["127.0.0.0/8", "::1/128"], description="networks that are not limited: NAT gateways, forwarders"
    )
    cookie_secrets: list[SecretText] = Field(
        [], description="secrets of DNS cookies, 32 hex digits each, the first makes them; empty: made and changed here"
    )
    query_log: bool = Field(True, description="write one record per query to the spool")
    metrics: MaybeLoopback = Field(
        "", description="loopback address where Prometheus scrapes this node; empty: nowhere"
    )
    block_page: MaybeEndpoint = Field("", description="address where browsers land for the answer style `page`")
    dot: list[TlsEndpointText] = Field([], description="addresses to answer DNS over TLS on; port 853 unless named")
    doh: list[HttpsEndpointText] = Field([], description="addresses to answer DNS over HTTPS on; port 443 unless named")
    server_name: ServerName = Field("", description="name that devices know the encrypted listeners by")
    certificate: Path | None = Field(None, description="PEM file of the certificate for it, with its chain")
    certificate_key: Path | None = Field(None, description="PEM file of its key")
    user: str = Field("", description="drop privileges to this user when started as root")
    group: str = Field("", description="and to this group")
    portal: UrlText = Field("http://127.0.0.1:8080", description="where this node enrols and gets its policy")
    portal_ca: CaFile = Field(None, description="PEM file of the authorities of the portal's certificate")
    name: str = Field("", max_length=100, description="this node's name on the Nodes page; empty: the host's name")
    sites: list[str] = Field([], description="ids of the sites that this node serves; empty: every site")

    @model_validator(mode="after")
    def _can_encrypt(self) -> Self:
        if not self.dot and not self.doh:
            return self
        if not self.server_name or self.certificate is None or self.certificate_key is None:
            raise ValueError("`dot` and `doh` need `server_name`, `certificate` and `certificate_key`")
        try:
            server_context(self.certificate, self.certificate_key, "dot")
        except OSError as error:
            raise ValueError(f"certificate and certificate_key cannot be used: {error.strerror or error}") from None
        return self


class PortalSection(_Section):
    """`[portal]`"""

    listen: EndpointText = Field("127.0.0.1:8080", description="address of the web server")
    url: UrlText | None = Field(None, description="address that people and nodes use; empty: made from `listen`")
    hosts: list[str] = Field([], description="further host names that are answered; any other is 421")
    database: str = Field("", description="SQLAlchemy URL; empty: SQLite in the data folder")
    session_hours: int = Field(12, ge=1, le=168, description="how long a sign-in lasts")
    private_lists: bool = Field(False, description="lists may come from private addresses, and over plain http")
    proxies: list[NetworkText] = Field([], description="reverse proxies whose X-Forwarded-For is believed")
    oidc: OidcSection = OidcSection()
    mail: MailSection = MailSection()


class Settings(BaseSettings):
    """The whole file."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid")

    data: Path = Field(Path("schoolgate-data"), description="folder of everything that is kept; made with mode 0700")
    resolver: ResolverSection = ResolverSection()
    portal: PortalSection = PortalSection()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment beats the file, whose values arrive as arguments."""
        return env_settings, init_settings


def load_settings(path: Path | None = None) -> Settings:
    """Return the settings of the file at `path` (none: defaults) and the environment. Raises `BadSettings`."""
    plain: dict[str, Any] = {}
    if path is not None:
        try:
            plain = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise BadSettings([f"{path}: {error.strerror}"]) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadSettings([f"{path}: {error}"]) from None
    mistakes = _unknown_variables()
    try:
        settings = Settings(**plain)
    except ValidationError as error:
        where = str(path) if path is not None else "settings"
        for one in error.errors():
            place = ".".join(str(part) for part in one["loc"])
            message = (
                "no such setting" if one["type"] == "extra_forbidden" else one["msg"].removeprefix("Value error, ")
            )
            mistakes.append(f"{where}: {place}: {message}")
    except SettingsError as error:
        mistakes.append(f"environment: {error}")
    if mistakes:
        raise BadSettings(mistakes)
    return settings


def _unknown_variables() -> list[str]:
    known = {f"{PREFIX}DATA", f"{PREFIX}CONFIG"}
    for section, cls in (("RESOLVER", ResolverSection), ("PORTAL", PortalSection)):
        known |= {f"{PREFIX}{section}"} | {f"{PREFIX}{section}__{name.upper()}" for name in cls.model_fields}
    known |= {f"{PREFIX}PORTAL__OIDC__{name.upper()}" for name in OidcSection.model_fields}
    known |= {f"{PREFIX}PORTAL__MAIL__{name.upper()}" for name in MailSection.model_fields}
    return [f"environment: {name}: no such setting" for name in sorted(os.environ) if _foreign(name, known)]


def _foreign(name: str, known: set[str]) -> bool:
    return name.upper().startswith(PREFIX) and name.upper() not in known


def resolver_config(settings: Settings) -> ResolverConfig:
    """Return what the resolver is told."""
    section = settings.resolver
    return ResolverConfig(
        listen=tuple(parse_endpoint(text) for text in section.listen),
        upstreams=tuple(parse_upstream(text) for text in section.upstreams) or system_upstreams(),
        forward=parse_forward(section.forward),
        local=parse_records(section.local),
        upstream_ca=section.upstream_ca,
        portal_ca=section.portal_ca,
        state=settings.data / "node",
        workers=section.workers or min(4, os.cpu_count() or 1),
        allow=tuple(section.allow),
        udp_size=section.udp_size,
        cache_bytes=section.cache_mb * 1024 * 1024,
        memo_entries=min(MEMO_ENTRIES, section.cache_mb * MEMO_PER_MB),
        max_ttl=section.max_ttl,
        max_negative_ttl=section.max_negative_ttl,
        upstream_timeout=section.upstream_timeout_ms / 1000,
        loop_check=float(section.loop_check_s),
        tcp_idle=float(section.tcp_idle_s),
        tcp_per_client=section.tcp_per_client,
        tcp_connections=section.tcp_connections,
        proxy_from=tuple(section.proxy_from),
        ecs_from=tuple(section.ecs_from),
        rate_limit=section.rate_limit,
        rate_burst=section.rate_burst,
        rate_exempt=tuple(section.rate_exempt),
        cookie_secrets=tuple(bytes.fromhex(text) for text in section.cookie_secrets),
        query_log=section.query_log,
        metrics=parse_endpoint(section.metrics) if section.metrics else None,
        block_page=parse_endpoint(section.block_page, HTTP_PORT) if section.block_page else None,
        dot=tuple(parse_endpoint(text) for text in section.dot),
        doh=tuple(parse_endpoint(text) for text in section.doh),
        server_name=section.server_name,
        certificate=section.certificate,
        certificate_key=section.certificate_key,
        user=section.user,
        group=section.group,
    )


def portal_config(settings: Settings, demo: bool = False) -> PortalConfig:
    """Return what the portal is told."""
    section = settings.portal
    listen = parse_endpoint(section.listen)
    url = section.url or f"http://{listen}"
    data = settings.data / "portal"
    host = urlsplit(url).hostname or listen.address
    hosts = {host, listen.address, *section.hosts}
    if ipaddress.ip_address(listen.address).is_loopback:
        hosts |= {"localhost", "127.0.0.1", "::1"}
    return PortalConfig(
        data=data,
        database=section.database or f"sqlite:///{(data / 'portal.sqlite').absolute()}",
        address=listen.address,
        port=listen.port,
        url=url,
        hosts=tuple(sorted(hosts)),
        demo=demo,
        session_hours=section.session_hours,
        secure_cookies=url.startswith("https:"),
        proxies=tuple(section.proxies),
        private_lists=section.private_lists,
        mail=mail_config(section.mail),
    )
