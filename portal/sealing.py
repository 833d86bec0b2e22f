"""Small secrets that must come back: sealed with a key that the database does not hold.

The key is a file of its own beside the signing keys, mode 0600, made at the first start: a stolen database alone opens
nothing, and a new signing key changes nothing here. Portals over one database share the file, as they do the signing
keys. AES-256-GCM; `purpose` is bound in, so that what was sealed for one use or person never opens for another.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portal import private
from portal.nodes.keys import BadKey
from portal.private import Exposed

KEY_FILE = Path("keys") / "sealing.key"
_BYTES = 32
_NONCE = 12


def sealing_key(data: Path) -> bytes:
    """Return the key in the portal's data folder, made there when there is none. Raises `BadKey` or `OSError`."""
    path = data / KEY_FILE
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        _create(path)
    try:
        key = private.read(path, "the key of the one-time codes", _BYTES + 1)
    except Exposed as error:
        raise BadKey(f"{error}.") from None
    if len(key) != _BYTES:
        raise BadKey(f"{path} holds no key of {_BYTES} bytes. Restore it from a backup.")
    return key


def _create(path: Path) -> None:
    """Whole or not at all; of two first starts at once, one wins and both use its key."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(_BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return
    finally:
        temporary.unlink()


class Sealer:
    """`key`: 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, purpose: str, plain: bytes) -> str:
        nonce = os.urandom(_NONCE)
        return base64.urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, plain, purpose.encode())).decode()

    def open(self, purpose: str, sealed: str) -> bytes | None:
        """Return what was sealed for `purpose`; None for anything else."""
        try:
            data = base64.urlsafe_b64decode(sealed.encode())
            return self._cipher.decrypt(data[:_NONCE], data[_NONCE:], purpose.encode())
        except (binascii.Error, InvalidTag, ValueError):
            return None
