"""Who made a policy: Ed25519 over a context prefix and the exact stored bytes (RFC 8032).

Checked before parsing; never re-serialised. The heavy import stays here, so that only the processes that sign or
verify pay for it.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

CONTEXT = b"schoolgate-policy-v1\0"
KEY_CONTEXT = b"schoolgate-key-v1\0"


class BadSignature(ValueError):
    """Bytes that the holder of this key did not sign."""


def digest(data: bytes) -> str:
    """Return the SHA-256 of `data` in lower-case hex: the name under which it is stored and offered."""
    return hashlib.sha256(data).hexdigest()


def sign(data: bytes, key: Ed25519PrivateKey) -> str:
    """Return the signature of `data` as 128 hex digits."""
    return key.sign(CONTEXT + data).hex()


def verify(data: bytes, signature: str, public_key: bytes) -> None:
    """Return when `signature` over `data` was made by the holder of `public_key` (32 bytes); else raise `BadSignature`.

    One signature has one spelling, 128 lower-case hex digits: upper case and spaces are refused.
    """
    try:
        raw = bytes.fromhex(signature)
        if raw.hex() != signature:
            raise ValueError("not the canonical spelling")
        Ed25519PublicKey.from_public_bytes(public_key).verify(raw, CONTEXT + data)
    except (InvalidSignature, ValueError):
        raise BadSignature("the policy is not signed by this district's portal") from None


def succession(district: str, new: bytes, at: int, old_until: int) -> bytes:
    """Return what a key signs to name its successor: `new` (32 bytes) from `at`, itself accepted until `old_until`."""
    return KEY_CONTEXT + b"\0".join((district.encode(), new.hex().encode(), b"%d" % at, b"%d" % old_until))


def verify_succession(district: str, new: bytes, at: int, old_until: int, signature: str, old: bytes) -> None:
    """Return when the holder of `old` named `new` its successor; else raise `BadSignature`."""
    try:
        raw = bytes.fromhex(signature)
        Ed25519PublicKey.from_public_bytes(old).verify(raw, succession(district, new, at, old_until))
    except (InvalidSignature, ValueError):
        raise BadSignature("the new key is not named by the one before it") from None


def fingerprint(public_key: bytes) -> str:
    """Return what a person compares: SHA-256 of the 32 key bytes, in hex."""
    return hashlib.sha256(public_key).hexdigest()
