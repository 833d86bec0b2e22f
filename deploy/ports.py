"""Who holds a port: looked up before anything starts, so that the message can name the program."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from resolver.config import Endpoint


class PortTaken(RuntimeError):
    """An address we were told to listen on is not free. The message says by whom and what to do."""


def check_free(endpoint: Endpoint, kinds: tuple[socket.SocketKind, ...], option: str) -> None:
    """Return when `endpoint` can be bound for all `kinds`; raise `PortTaken`, naming the holder and `option`."""
    family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
    for kind in kinds:
        with socket.socket(family, kind) as probe:
            if kind is socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((endpoint.address, endpoint.port))
            except OSError as error:
                raise PortTaken(_sentence(endpoint, kind, error, option)) from None


def _sentence(endpoint: Endpoint, kind: socket.SocketKind, error: OSError, option: str) -> str:
    protocol = "UDP" if kind is socket.SOCK_DGRAM else "TCP"
    if error.errno == errno.EADDRINUSE:
        holder = find_holder(endpoint.port, kind)
        by = f" by {holder}" if holder else ""
        return f"{protocol} port {endpoint} is taken{by}. Stop it, or choose another with {option}."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{protocol} port {endpoint} needs more rights than this user has. Choose one above 1023 with {option}."
    return f"{protocol} port {endpoint} cannot be used: {error.strerror}. Choose another with {option}."


def find_holder(port: int, kind: socket.SocketKind, proc: Path = Path("/proc")) -> str | None:
    """Return `NAME (process N)` of a program that is bound to `port`, or None when the system does not tell."""
    inodes = _inodes(port, "udp" if kind is socket.SOCK_DGRAM else "tcp", proc)
    if not inodes:
        return None
    for folder in proc.glob("[0-9]*"):
        try:
            for link in (folder / "fd").iterdir():
                target = str(link.readlink())
                if target.startswith("socket:[") and target[8:-1] in inodes:
                    name = (folder / "comm").read_text().strip()
                    return f"{name} (process {folder.name})"
        except OSError:
            continue  # another user's process, or one that ended meanwhile
    return None


def _inodes(port: int, protocol: str, proc: Path) -> set[str]:
    found = set()
    for table in (proc / "net" / protocol, proc / "net" / f"{protocol}6"):
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            listening = protocol == "udp" or words[3] == "0A"
            if listening and int(words[1].rpartition(":")[2], 16) == port:
                found.add(words[9])
    return found
