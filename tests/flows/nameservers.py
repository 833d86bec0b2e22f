"""Knot DNS as primary; BIND, Unbound and PowerDNS Recursor behind it, from their Debian packages, on loopback ports.

Their configuration is the shipped example, with this test's ports, folders and key in place of the district's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rdatatype

from tests.flows.district import free_port, until

EXAMPLES = Path(__file__).parent.parent.parent / "deploy" / "examples" / "rpz"
SECRET = "K2tf3TRjvQkVCmJF3/Z9vA4AF7zcjYYSdgmvE4o8Qfs="  # of this test only
PROGRAMS = ("knotd", "knotc", "named", "unbound", "pdns_recursor")


def program(name: str) -> str | None:
    """Return where a daemon is: Debian keeps them in /usr/sbin, which is not on every path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass(frozen=True, slots=True)
class NameServers:
    """Ports on 127.0.0.1, and the command that reloads Knot's zones."""

    bind: int
    unbound: int
    powerdns: int
    knot: int
    reload: str
    folder: Path

    def said(self) -> str:
        """Return the ends of their logs."""
        return "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in sorted(self.folder.glob("*.log")))


def is_open(port: int, name: str) -> bool:
    """True when the name server at `port` gives an address for `name`."""
    question = dns.message.make_query(name, "A")
    try:
        answer = dns.query.udp(question, "127.0.0.1", port=port, timeout=2)
    except dns.exception.Timeout:
        return False
    return any(one.rdtype == dns.rdatatype.A for one in answer.answer)


def _example(name: str, replaced: dict[str, str]) -> str:
    text = (EXAMPLES / name).read_text().replace("REPLACE-WITH-A-KEY-FROM-KEYMGR", SECRET)
    for old, new in replaced.items():
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def nameservers(folder: Path, zones: Path, upstream: int) -> Iterator[NameServers]:
    """Start the four, with the zone files in `zones` and everything else forwarded to `upstream`; stop them after."""
    folder.mkdir()
    folder.chmod(0o755)
    knot, bind, unbound, powerdns = (free_port() for _ in range(4))
    ports = {"@5301": f"@{knot}", "@5302": f"@{bind}", "@5303": f"@{unbound}"}
    for name in ("knot", "bind", "unbound", "powerdns"):
        (folder / name).mkdir()
    user = "" if os.getuid() else "    user: root\n"
    configured = _example(
        "knot.conf",
        {
            **ports,
            "/run/knot": f"{folder}/knot",
            "/var/lib/knot": f"{folder}/knot",
            "/var/lib/schoolgate/rpz": str(zones),
        },
    )
    (folder / "knot.conf").write_text(configured.replace("server:\n", f"server:\n{user}", 1))
    (folder / "named.conf").write_text(
        _example(
            "named.conf",
            {
                "port 5301": f"port {knot}",
                "port 5302": f"port {bind}",
                "/var/cache/bind": f"{folder}/bind",
                "recursion yes;": f'recursion yes; pid-file "{folder}/named.pid"; session-keyfile "{folder}/key"; '
                f"forwarders {{ 127.0.0.1 port {upstream}; }}; forward only; "
                "dnssec-validation no; max-cache-ttl 1; max-ncache-ttl 1;",
            },
        )
        + "controls { };\n"
    )
    (folder / "unbound.conf").write_text(
        _example(
            "unbound.conf",
            {
                "@5301": f"@{knot}",
                "@5303": f"@{unbound}",
                "/var/lib/unbound": f"{folder}/unbound",
                "server:\n": 'server:\n  chroot: ""\n  username: ""\n  do-daemonize: no\n  use-syslog: no\n'
                "  do-not-query-localhost: no\n"
                f'  cache-max-ttl: 1\n  pidfile: "{folder}/unbound.pid"\n  directory: "{folder}/unbound"\n',
            },
        )
        + f"forward-zone:\n  name: .\n  forward-addr: 127.0.0.1@{upstream}\n"
    )
    (folder / "recursor.lua").write_text(_example("recursor.lua", {":5301": f":{knot}"}))
    commands = {
        "knot": ["knotd", "-c", f"{folder}/knot.conf"],
        "bind": ["named", "-g", "-n", "1", "-c", f"{folder}/named.conf"],
        "unbound": ["unbound", "-d", "-c", f"{folder}/unbound.conf"],
        "powerdns": [
            "pdns_recursor",
            f"--config-dir={folder}/powerdns",
            f"--socket-dir={folder}/powerdns",
            "--daemon=no",
            "--threads=1",
            "--local-address=127.0.0.1",
            f"--local-port={powerdns}",
            f"--lua-config-file={folder}/recursor.lua",
            f"--forward-zones-recurse=.=127.0.0.1:{upstream}",
            "--dnssec=off",
            "--max-cache-ttl=1",
            "--packetcache-ttl=1",
            "--disable-packetcache=yes",
            "--hint-file=no",
        ],
    }
    started: list[subprocess.Popen[bytes]] = []
    found = NameServers(bind, unbound, powerdns, knot, f"{program('knotc')} -c {folder}/knot.conf zone-reload", folder)
    try:
        for name, command in commands.items():
            with (folder / f"{name}.log").open("w") as log:
                started.append(subprocess.Popen([str(program(command[0])), *command[1:]], stdout=log, stderr=log))
            if name == "knot":
                until(lambda: _serves(knot), 90, f"Knot\n{found.said()}")
        yield found
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _serves(port: int) -> bool:
    question = dns.message.make_query("allow.edison-students.rpz", "SOA")
    try:
        return bool(dns.query.udp(question, "127.0.0.1", port=port, timeout=1).answer)
    except (dns.exception.Timeout, OSError):
        return False
