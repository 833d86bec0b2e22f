"""The signing key: made once, kept private, refused when others could have read it."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from blocklists import signature
from portal.nodes.keys import KEY_FILE, BadKey, SigningKey, signing_key


def test_the_key_is_made_at_the_first_start_and_stays(tmp_path: Path) -> None:
    first = signing_key(tmp_path)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / KEY_FILE).parent.stat().st_mode) == 0o700
    again = signing_key(tmp_path)
    assert again.public == first.public
    assert again.fingerprint == signature.fingerprint(first.public)
    signature.verify(b"policy", again.sign(b"policy"), first.public)
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["signing.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused_and_not_mended(tmp_path: Path, mode: int) -> None:
    signing_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(BadKey, match="chmod 600"):
        signing_key(tmp_path)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == mode


def test_a_damaged_key_or_one_of_another_kind_is_refused(tmp_path: Path) -> None:
    signing_key(tmp_path)
    path = tmp_path / KEY_FILE
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BadKey, match="no readable private key"):
        signing_key(tmp_path)
    path.write_bytes(X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(BadKey, match="another kind"):
        signing_key(tmp_path)


def test_two_first_starts_at_once_use_one_key(tmp_path: Path) -> None:
    found: list[SigningKey] = []
    threads = [threading.Thread(target=lambda: found.append(signing_key(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key.public for key in found}) == 1 and len(found) == 8
