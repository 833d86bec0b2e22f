"""Addresses, upstreams and zones as an administrator writes them: text in, the resolver's values out."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from blocklists import names
from resolver.config import Endpoint, Forward, HttpsEndpoint, SecureEndpoint

DNS_PORT = 53
HTTP_PORT = 80
TLS_PORT = 853
HTTPS_PORT = 443


def parse_endpoint(text: str, default_port: int = DNS_PORT) -> Endpoint:
    """Return the endpoint of `ADDR`, `ADDR:PORT` or `[ADDR6]:PORT`. Raises `ValueError` with a sentence."""
    match = re.fullmatch(r"\[(?P<six>[^\]]+)\](?::(?P<p6>\d+))?|(?P<four>[^:]+)(?::(?P<p4>\d+))?", text.strip())
    if match is None:
        address, port = text.strip(), None  # a bare IPv6 address
    else:
        address, port = match["six"] or match["four"], match["p6"] or match["p4"]
    try:
        address = str(ipaddress.ip_address(address))
    except ValueError:
        raise ValueError(f"{text!r} is not an address; write 127.0.0.1:5300 or [::1]:5300") from None
    number = int(port) if port is not None else default_port
    if not 1 <= number <= 65535:
        raise ValueError(f"{text!r}: a port is 1 to 65535")
    return Endpoint(address, number)


def parse_upstream(text: str) -> Endpoint:
    """Return the upstream of `ADDR[:PORT]` (UDP and TCP), `tls://NAME@ADDR[:PORT]` (TLS, port 853) or
    `https://NAME@ADDR[:PORT][/PATH]` (HTTPS, port 443, `/dns-query`); `NAME` must be in its certificate. Raises
    `ValueError` with a sentence."""
    scheme, found, rest = text.strip().partition("://")
    if not found:
        return parse_endpoint(text)
    host, found, where = rest.partition("@")
    if scheme not in ("tls", "https") or not found or not re.fullmatch(r"[A-Za-z0-9._:-]+", host):
        raise ValueError(
            f"{text!r}: write 9.9.9.9, or for an encrypted upstream tls://dns.quad9.net@9.9.9.9 or "
            "https://dns.quad9.net@9.9.9.9/dns-query"
        )
    if scheme == "tls":
        at = parse_endpoint(where, TLS_PORT)
        return SecureEndpoint(at.address, at.port, host)
    address, slash, path = where.partition("/")
    if not re.fullmatch(r"[!-~]*", path) or any(one in path for one in "{}?#"):
        raise ValueError(f"{text!r}: the path is one like /dns-query, without a template")
    at = parse_endpoint(address, HTTPS_PORT)
    return HttpsEndpoint(at.address, at.port, host, slash + path or "/dns-query")


def parse_zone(text: str) -> str:
    """Return the zone of a domain name, or of a network (10.0.0.0/8: its zone in the reverse tree). Raises `ValueError`
    with a sentence."""
    if "/" not in text:
        try:
            return names.normalise(text)
        except names.BadName as error:
            raise ValueError(f"{text!r}: {error.reason}") from None
    network = ipaddress.ip_network(text)
    step = 8 if network.version == 4 else 4
    if network.prefixlen % step or not network.prefixlen:
        raise ValueError(f"{text!r}: a reverse zone ends at a multiple of {step} bits; write those that it is made of")
    labels = str(network.network_address.reverse_pointer).split(".")
    return ".".join(labels[(network.max_prefixlen - network.prefixlen) // step :])


def parse_forward(forward: dict[str, list[str]]) -> tuple[Forward, ...]:
    """Return the forwarded zones. Raises `ValueError` with a sentence."""
    found: dict[str, Forward] = {}
    for text, servers in forward.items():
        zone = parse_zone(text)
        if zone in found:
            raise ValueError(f"{text!r}: the zone {zone} stands twice")
        if not servers:
            raise ValueError(f"{text!r}: name at least one server")
        found[zone] = Forward(names.to_wire(zone), tuple(parse_upstream(one) for one in servers))
    return tuple(found.values())


def system_upstreams(path: Path = Path("/etc/resolv.conf")) -> tuple[Endpoint, ...]:
    """Return the resolvers that this machine uses; Quad9 when it names none."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    found = []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                found.append(Endpoint(str(ipaddress.ip_address(words[1].partition("%")[0])), DNS_PORT))
            except ValueError:
                continue
    return tuple(found) or (Endpoint("9.9.9.9", DNS_PORT), Endpoint("149.112.112.112", DNS_PORT))
