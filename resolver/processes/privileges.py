"""What a start settles once: the lock against a second copy, the limit on open files, and who we are from then on."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import socket
import struct
from pathlib import Path

LOCK = "resolver.lock"
_CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3, capset(2)
_PR_CAP_AMBIENT, _CLEAR_ALL, _PR_SET_NO_NEW_PRIVS = 47, 4, 38
_libc = ctypes.CDLL(None, use_errno=True)


class AlreadyRunning(Exception):
    """Another supervisor works with the same state folder."""


def take_lock(state: Path) -> int:
    """Return the open lock file; it is held until closed or until this process ends. Raises `AlreadyRunning`."""
    try:
        number = os.open(state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # a disk that became read-only must not keep the gate down
        number = os.open(state / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(number, 20, 0).decode("ascii", "replace").strip()
        os.close(number)
        raise AlreadyRunning(
            f"a resolver already runs with {state} (pid {pid or 'unknown'}): stop it, or give this one another folder"
        ) from None
    with contextlib.suppress(OSError):  # the lock holds without the number
        os.ftruncate(number, 0)
        os.pwrite(number, f"{os.getpid()}\n".encode(), 0)
    return number


def raise_descriptor_limit() -> int:
    """Raise the soft limit on open files to the hard one; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft


def drop(user: str, group: str, state: Path, lock: int) -> bool:
    """Become `user` and `group` when started as root, else give up capabilities; True when privileges were dropped.

    The state folder must be theirs (its lock file becomes theirs). Raises `OSError` with a message that says what to
    do.
    """
    if os.geteuid() != 0:
        return _shed()
    if not user:
        return False
    import grp
    import pwd

    try:
        entry = pwd.getpwnam(user)
        gid = grp.getgrnam(group).gr_gid if group else entry.pw_gid
    except KeyError as error:
        raise OSError(f"no such user or group: {error.args[0]}") from None
    if state.stat().st_uid not in (entry.pw_uid, 0):
        raise OSError(f"{state} belongs to another user: run `chown -R {user} {state}`")
    if state.stat().st_uid == 0 and entry.pw_uid != 0:
        if {path.name for path in state.iterdir()} - {LOCK, "identity.json"}:
            raise OSError(f"{state} belongs to root: run `chown -R {user} {state}`")
        os.chown(state, entry.pw_uid, gid)
        with contextlib.suppress(FileNotFoundError):
            os.chown(state / "identity.json", entry.pw_uid, gid, follow_symlinks=False)
    os.fchown(lock, entry.pw_uid, gid)
    os.initgroups(user, gid)
    os.setgid(gid)
    os.setuid(entry.pw_uid)
    _shed()
    return True


def _shed() -> bool:
    """Give up every capability that bound the ports, and all ways to new ones; True when there were any. Raises
    `OSError`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    had = any(line.startswith("CapEff:") and int(line.split()[1], 16) for line in lines)
    header, none = struct.pack("=Ii", _CAPABILITY_VERSION, 0), bytes(24)  # effective, permitted, inheritable; twice
    _libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _libc.capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "the capabilities cannot be given up")
    return had


def notify_ready(message: str = "READY=1") -> None:
    """Tell systemd, when it asked to be told (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(message.encode(), "\0" + address[1:] if address.startswith("@") else address)
