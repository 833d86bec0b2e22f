"""The portal's signing key: one Ed25519 key, in a file of its own that nobody else may read.

Made at the first start; nodes pin it when they enrol. A successor (`portal.nodes.succession`) is another file beside
it. A file that others can read is refused, not mended, because a key that was readable may have been read.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from blocklists import signature
from portal import private
from portal.private import Exposed

KEY_FILE = Path("keys") / "signing.pem"


class BadKey(Exception):
    """A signing key that cannot be used: too widely readable, damaged, or of another kind. Says how to mend it."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    private: Ed25519PrivateKey
    public: bytes  # 32 bytes, what nodes pin

    @property
    def fingerprint(self) -> str:
        """What a person compares: SHA-256 of the public key, in hex."""
        return signature.fingerprint(self.public)

    def sign(self, data: bytes) -> str:
        """Return the signature of policy bytes as 128 hex digits."""
        return signature.sign(data, self.private)


def signing_key(data: Path) -> SigningKey:
    """Return the key in the portal's data folder, made there when there is none. Raises `BadKey` or `OSError`."""
    path = data / KEY_FILE
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        _create(path)
    return _read(path)


def new_key(data: Path) -> SigningKey:
    """Make another key in the portal's data folder, not in use until a statement names it. Raises `OSError`."""
    private = Ed25519PrivateKey.generate()
    made = SigningKey(private, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    _create(data / KEY_FILE.parent / f"signing-{made.fingerprint[:16]}.pem", private)
    return made


class Keyring:
    """The key that signs now. `follow` goes over to a successor; readers take `current` anew each time."""

    def __init__(self, data: Path) -> None:
        """Raises `BadKey` or `OSError`."""
        self._data = data
        self.current = signing_key(data)

    def follow(self, public: bytes | None) -> None:
        """Go over to the key of these 32 bytes; None: the first one is still it. Raises `BadKey` or `OSError`."""
        if public is None or public == self.current.public:
            return
        folder = (self._data / KEY_FILE).parent
        wanted = signature.fingerprint(public)
        for path in (folder / f"signing-{wanted[:16]}.pem", folder / KEY_FILE.name):
            if path.exists() and (found := _read(path)).public == public:
                self.current = found
                return
        raise BadKey(
            f"{folder} does not have the signing key {wanted[:16]}…, which the old one named: copy"
            f" signing-{wanted[:16]}.pem from the machine where it was made, or restore it from a backup"
        )


def _create(path: Path, private: Ed25519PrivateKey | None = None) -> None:
    """Write a new key whole or not at all. Of two first starts at once, one wins and both use its key."""
    key = private or Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return
    finally:
        temporary.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> SigningKey:
    try:
        pem = private.read(path, "the key that signs every policy", 65_536)
    except Exposed as error:
        raise BadKey(
            f"{error}, and if somebody else may have read it, make a new key and enrol the nodes again."
        ) from None
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise BadKey(f"{path} holds no readable private key ({error}). Restore it from a backup.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"{path} holds a key of another kind; an Ed25519 key belongs here. Restore it from a backup.")
    return SigningKey(key, key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
