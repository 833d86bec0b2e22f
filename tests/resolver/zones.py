"""Signed and unsigned zones of every kind of record on a Knot that the test starts, and a validating Unbound before it.

`signed.example` (NSEC) has a signed child, an unsigned one and one whose signatures are wrong; `signed3.example` is
signed with NSEC3; `plain.example` is not signed. Made anew for each run, by BIND's dnssec-signzone, from a seed.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode

from tests.ports import free_port

PROGRAMS = ("knotd", "unbound", "dnssec-keygen", "dnssec-signzone")
SIGNED = ("child.signed.example", "bogus.signed.example", "signed.example", "signed3.example")  # children first
UNSIGNED = ("open.signed.example", "child.plain.example", "plain.example")
ZONES = SIGNED + UNSIGNED
LAME = "lame.example"  # asked where nobody serves it
ADDRESSES = 40  # of the owner `many`

_HEAD = """\
$ORIGIN {zone}.
$TTL {ttl}
@ SOA ns hostmaster 1 3600 600 86400 {minimum}
@ NS ns
@ NS ns2
@ MX 10 mail
@ TXT "v=spf1 -all"
@ CAA 0 issue "ca.example"
ns A 9.0.0.53
ns2 A 9.0.0.54
mail A 9.0.0.25
mail AAAA 2001:500::25
"""

# What hosts have, by turns; {n} is the host's number.
_DATA = (
    "A 9.1.0.{n}", "A 9.1.1.{n}", "AAAA 2001:500::{n}", 'TXT "number {n}"', 'TXT "{text}"', "MX 10 mail",
    "MX 20 mail.plain.example.", "SRV 0 5 443 h{m}", "SRV 0 5 443 h{m}.signed.example.", 'CAA 0 issue "ca{n}.example"',
    'NAPTR 100 10 "u" "sip" "!^.*$!sip:{n}@example.com!" .', "PTR h{m}", "SSHFP 4 2 {hash}", "TLSA 3 1 1 {hash}",
    "HTTPS 1 . alpn=h2 port=8443", "HTTPS 0 h{m}", "SVCB 1 h{m} alpn=h3 ipv4hint=9.1.0.{n}",
    "LOC 41 52 0 N 87 37 0 W 180m", 'HINFO "PC" "LINUX"', "RP hostmaster h{m}", "AFSDB 1 h{m}", 'URI 10 1 "https://e.example/"',
    "TYPE65280 \\\\# 4 0a0b0c{hex}", "TYPE4444 \\\\# 0", "EUI48 00-00-5e-00-53-{hex}", "DNAME dtarget{n}",
    "OPENPGPKEY mDMEXEcE6RYJKwYBBAHaRw8BAQdA", "KX 10 h{m}", "SMIMEA 3 1 1 {hash}",
)  # fmt: skip

_SHAPES = """\
*.wild A 9.2.0.1
*.wild TXT "any"
*.wildalias CNAME h1
a.b.ent A 9.2.0.2
many {many}
big TXT {big}
chain0 CNAME chain1
chain1 CNAME chain2
chain2 CNAME h2
tonowhere CNAME nowhere
tonodata CNAME ns
across CNAME h3.plain.example.
acrosssigned CNAME h3.signed.example.
acrossthree CNAME h3.signed3.example.
loop0 CNAME loop1
loop1 CNAME loop0
self CNAME self
under DNAME wild
far DNAME signed3.example.
tolame CNAME www.lame.example.
tobogus CNAME www.bogus.signed.example.
blocked A 9.3.0.1
blocked HTTPS 1 . alpn=h2
www.blocked A 9.3.0.2
toblocked CNAME blocked
*.blocked TXT "below"
www A 9.3.0.3
zero 0 A 9.3.0.4
"""

HOSTS = 60
OTHERS = (
    "", "ns", "mail", "any.wild", "other.any.wild", "x.wildalias", "b.ent", "ent", "a.b.ent", "many", "big", "chain0",
    "chain1", "tonowhere", "tonodata", "across", "acrosssigned", "acrossthree", "loop0", "self", "under", "h1.under",
    "far", "h5.far", "nowhere.far", "tolame", "tobogus", "nowhere", "not.there.at.all", "www", "zero", "*.wild",
    "_443._tcp",
)  # fmt: skip


def zone_text(zone: str) -> str:
    """Return the zone file of `zone`, unsigned."""
    rng = random.Random(zone)
    minimum = rng.choice((60, 120, 900))
    lines = [_HEAD.format(zone=zone, ttl=rng.choice((300, 3600)), minimum=minimum)]
    many = "\nmany ".join(f"A 9.4.0.{one}" for one in range(ADDRESSES))
    big = " ".join(f'"{"x" * 200}{one}"' for one in range(12))
    lines.append(_SHAPES.format(many=many, big=big))
    for number in range(HOSTS):
        for data in rng.sample(_DATA, rng.randint(1, 5)):
            values = {
                "n": number, "m": rng.randrange(HOSTS), "text": "t" * rng.randint(1, 250), "hex": f"{number:02x}",
                "hash": rng.randbytes(32).hex(),
            }  # fmt: skip
            ttl = rng.choice(("", "", "30", "86400"))
            lines.append(f"h{number} {ttl} {data.format(**values)}".replace("\\\\", "\\"))
    for child in ZONES:
        above, _, rest = child.partition(".")
        if rest == zone:
            lines.append(f"{above} NS ns.{child}.\nns.{above} A 9.0.0.53")
    return "\n".join(_one_ttl_each(lines)) + "\n"


def _one_ttl_each(lines: list[str]) -> Iterator[str]:
    """Leave out a second TTL of one RRset (RFC 2181 §5.2), and what may stand only once."""
    seen: dict[tuple[str, str], str] = {}
    for line in "\n".join(lines).splitlines():
        words = line.split()
        if len(words) > 2 and words[0].startswith("h") and words[0][1:].isdigit():
            ttl, kind = (words[1], words[2]) if words[1].isdigit() else ("", words[1])
            if seen.setdefault((words[0], kind), ttl) != ttl or (kind == "DNAME" and line.count("DNAME") > 1):
                continue
        yield line


def sign(folder: Path, zone: str) -> None:
    """Sign `zone`, whose unsigned file is there; the keys' DS records are left for the parent."""
    for options in (("-f", "KSK"), ()):
        command = ["dnssec-keygen", "-q", "-K", str(folder), "-a", "ECDSAP256SHA256", *options, zone]
        subprocess.run(command, check=True, capture_output=True)
    nsec3 = ("-3", "-", "-H", "0") if zone == "signed3.example" else ()
    where = ("-K", str(folder), "-d", str(folder), "-o", zone, "-f", f"{zone}.signed")
    command = ["dnssec-signzone", "-S", *where, *nsec3, zone]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)


def make_zones(folder: Path) -> None:
    """Write every zone file to `folder` as `ZONE.signed`, and the trust anchors as `anchors`."""
    for zone in ZONES:
        text = zone_text(zone)
        children = [one for one in SIGNED if one.partition(".")[2] == zone]
        text += "".join((folder / f"dsset-{one}.").read_text() for one in children)
        (folder / zone).write_text(text)
        if zone in SIGNED:
            sign(folder, zone)
        else:
            shutil.copy(folder / zone, folder / f"{zone}.signed")
    bogus = folder / "bogus.signed.example.signed"
    bogus.write_text(bogus.read_text().replace("9.3.0.3", "9.3.0.66").replace("9.1.0.", "9.66.0."))
    anchors = [path.read_text() for path in folder.glob("Ksigned*.key") if " 257 " in path.read_text()]
    (folder / "anchors").write_text("".join(anchors))


@dataclass(frozen=True, slots=True)
class Zones:
    """The running pair: `authority` and `unbound` are ports on 127.0.0.1."""

    folder: Path
    authority: int
    unbound: int


@contextlib.contextmanager
def _running(command: list[str], port: int, name: str, log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        question = dns.message.make_query(name, "A")
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(dns.exception.DNSException, OSError):
                if dns.query.udp(question, "127.0.0.1", port=port, timeout=1).rcode() == dns.rcode.NOERROR:
                    break
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def zones(folder: Path) -> Iterator[Zones]:
    """Make the zones and serve them until the block ends."""
    make_zones(folder)
    authority, unbound = free_port(), free_port()
    (folder / "db").mkdir()
    knot = (
        f'server:\n  listen: 127.0.0.1@{authority}\n  rundir: "{folder}"\ndatabase:\n  storage: "{folder}/db"\nzone:\n'
    )
    knot += "".join(f'  - domain: {zone}\n    file: "{folder}/{zone}.signed"\n' for zone in ZONES)
    (folder / "knot.conf").write_text(knot)
    stub = 'stub-zone:\n  name: "{}"\n  stub-addr: 127.0.0.1@{}\n'
    config = f"""\
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  interface: 127.0.0.1
  port: {unbound}
  do-daemonize: no
  num-threads: 1
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor-file: "{folder}/anchors"
  max-udp-size: 1232
  minimal-responses: no
  incoming-num-tcp: 200
remote-control:
  control-enable: no
"""
    config += "".join(stub.format(zone, authority) for zone in (*ZONES, LAME, "."))
    (folder / "unbound.conf").write_text(config)
    knotd, unbound_path = (shutil.which(one) or f"/usr/sbin/{one}" for one in ("knotd", "unbound"))
    with (
        _running([knotd, "-c", str(folder / "knot.conf")], authority, "www.plain.example", folder / "knot.log"),
        _running(
            [unbound_path, "-c", str(folder / "unbound.conf")], unbound, "www.signed.example", folder / "unbound.log"
        ),
    ):
        yield Zones(folder, authority, unbound)


def missing() -> list[str]:
    """Return the programs that are not installed."""
    return [one for one in PROGRAMS if not (shutil.which(one) or Path(f"/usr/sbin/{one}").exists())]
