"""Who made a policy: nothing but these bytes, this key and this purpose verifies."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from blocklists.signature import CONTEXT, BadSignature, digest, fingerprint, sign, verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
DATA = b'{"format":1,"version":7}'
SIGNATURE = sign(DATA, KEY)


@given(st.binary(max_size=200))
def test_what_is_signed_verifies(data: bytes) -> None:
    verify(data, sign(data, KEY), PUBLIC)


def test_a_flipped_bit_anywhere_in_the_data_fails() -> None:
    for at in range(len(DATA) * 8):
        changed = bytearray(DATA)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(BadSignature):
            verify(bytes(changed), SIGNATURE, PUBLIC)


def test_a_flipped_bit_anywhere_in_the_signature_fails() -> None:
    raw = bytes.fromhex(SIGNATURE)
    for at in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(BadSignature):
            verify(DATA, changed.hex(), PUBLIC)


def test_a_flipped_bit_anywhere_in_the_signatures_spelling_fails() -> None:
    text = SIGNATURE.encode()
    for at in range(len(text) * 8):
        changed = bytearray(text)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(BadSignature):
            verify(DATA, changed.decode("latin-1"), PUBLIC)


def test_a_flipped_bit_anywhere_in_the_key_fails() -> None:
    for at in range(len(PUBLIC) * 8):
        changed = bytearray(PUBLIC)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(BadSignature):
            verify(DATA, SIGNATURE, bytes(changed))


@pytest.mark.parametrize(
    "signature",
    ["", "zz", SIGNATURE[:-2], SIGNATURE + "00", SIGNATURE.upper(), SIGNATURE[:64] + " " + SIGNATURE[64:], "0" * 128],
)
def test_another_spelling_of_a_signature_fails(signature: str) -> None:
    with pytest.raises(BadSignature):
        verify(DATA, signature, PUBLIC)


@pytest.mark.parametrize("key", [b"", PUBLIC[:-1], PUBLIC + b"\0", bytes(32), b"\xff" * 32])
def test_what_is_no_key_fails(key: bytes) -> None:
    with pytest.raises(BadSignature):
        verify(DATA, SIGNATURE, key)


def test_a_signature_made_for_another_purpose_fails() -> None:
    for context in (b"", b"schoolgate-policy-v2\0", CONTEXT[:-1], CONTEXT + b"\0"):
        with pytest.raises(BadSignature):
            verify(DATA, KEY.sign(context + DATA).hex(), PUBLIC)
    assert KEY.sign(b"schoolgate-policy-v1\0" + DATA).hex() == SIGNATURE


def test_the_digest_and_the_fingerprint_are_sha_256() -> None:
    assert digest(DATA) == hashlib.sha256(DATA).hexdigest()
    assert fingerprint(PUBLIC) == hashlib.sha256(PUBLIC).hexdigest()
