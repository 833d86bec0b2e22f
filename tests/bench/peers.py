"""Unbound, twice: as the local authority that both sides forward to, and as the peer that blocks the same names."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import dns.message
import dns.query

from tests.bench.load import CLIENT_CPU, SERVER_CPU

UNBOUND = shutil.which("unbound") or "/usr/sbin/unbound"

_COMMON = """\
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  logfile: ""
  use-syslog: no
  interface: 127.0.0.1
  port: {port}
  do-daemonize: no
  num-threads: 1
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  module-config: "iterator"
  so-reuseport: no
  msg-cache-size: 64m
  rrset-cache-size: 128m
  verbosity: 0
  log-replies: no
"""


def wait_for(port: int, process: subprocess.Popen[bytes], within: float = 120) -> None:
    """Return once a resolver on 127.0.0.1:`port` answers anything."""
    deadline = time.monotonic() + within
    question = dns.message.make_query("ready.bench.example", "A")
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server on port {port} ended with status {process.returncode}")
        with contextlib.suppress(Exception):
            dns.query.udp(question, "127.0.0.1", port=port, timeout=1)
            return
        time.sleep(0.1)
    raise RuntimeError(f"no answer on port {port} within {within:.0f} s")


@contextlib.contextmanager
def _unbound(folder: Path, name: str, port: int, cpu: str, text: str) -> Iterator[subprocess.Popen[bytes]]:
    config = folder / f"{name}.conf"
    config.write_text(_COMMON.format(folder=folder, port=port) + text)
    process = subprocess.Popen(
        ["taskset", "-c", cpu, UNBOUND, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(port, process)
        yield process
    finally:
        process.terminate()
        process.wait(20)


def authority(folder: Path, port: int, names: Iterable[str]) -> contextlib.AbstractContextManager[object]:
    """The upstream of both: one A record for every name, and for any name below `random.example`, an hour long."""
    data = "".join(f'  local-data: "{name}. 3600 IN A 192.0.2.1"\n' for name in names)
    zone = '  local-zone: "bench.example." static\n  local-zone: "com." refuse\n'
    zone += '  local-zone: "random.example." redirect\n  local-data: "random.example. 3600 IN A 192.0.2.2"\n'
    return _unbound(folder, "authority", port, CLIENT_CPU, zone + data)


def peer(
    folder: Path, port: int, upstream: int, blocked: Iterable[str]
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Unbound as a filter: a local zone for each blocked name, the rest forwarded to `upstream`."""
    zones = "".join(f'  local-zone: "{name}." always_nxdomain\n' for name in blocked)
    forward = f'forward-zone:\n  name: "."\n  forward-addr: 127.0.0.1@{upstream}\n'
    return _unbound(folder, "peer", port, SERVER_CPU, zones + forward)
