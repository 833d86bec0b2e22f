"""Text and wire names against the normaliser: a canonical name or `BadName`, whatever a person or a list writes."""

from __future__ import annotations

from collections import Counter

from blocklists import names
from blocklists.names import BadName
from tests.fuzz.mutation import feed, mixed

SEEDS = [
    text.encode()
    for text in (
        "www.facebook.com",
        "WWW.Facebook.COM.",
        "https://user:pw@www.youtube.com:443/watch?v=1#t",
        "http://[2001:db8::1]/",
        "//example.com/path",
        "mailto:a@example.com",
        "bücher.example",
        "xn--bcher-kva.example",
        "例え。テスト",
        "ａｂｃ．ｅｘａｍｐｌｅ",
        "faß.de",
        "a\u200db.example",
        "_dns.resolver.arpa",
        "xn--a.example",
        "192.0.2.1",
        "0x7f.1",
        "localhost",
        "co.uk",
        "a" * 63 + "." + "b" * 63 + "." + "c" * 63 + "." + "d" * 61,
    )
] + [names.to_wire(name) for name in ("www.facebook.com", "a", "")]


def read(data: bytes) -> str:
    text = data.decode("utf-8", "surrogateescape")
    outcome = "refused"
    for reader in (names.normalise, names.grantable, lambda text: names.understand(text).name):
        try:
            name = reader(text)
        except BadName as error:
            assert len(str(error)) < 5000
            continue
        assert names.is_canonical(name) and names.normalise(name) == name
        assert names.from_wire(names.to_wire(name)) == name
        assert names.from_key(names.key(name)) == name
        assert len(names.to_wire(name)) <= 255
        outcome = "read"
    names.is_canonical(text)
    wire = bounded(data)
    name = names.from_wire(wire)
    assert name.isascii() and name.count(".") + 1 == max(1, labels_in(wire))
    return outcome


def bounded(data: bytes) -> bytes:
    """What the wire reader would pass on: labels of 1 to 63 octets within 255, then the root."""
    out = b""
    at = 0
    while at < len(data) and 0 < data[at] < 64:
        label = data[at : at + 1 + data[at]]
        if len(label) != 1 + data[at] or len(out) + len(label) > 254:
            break
        out += label
        at += len(label)
    return out + b"\0"


def labels_in(wire: bytes) -> int:
    count = at = 0
    while wire[at]:
        count += 1
        at += 1 + wire[at]
    return count


def run(count: int, seed: int = 0) -> Counter[str]:
    return feed(count, mixed(SEEDS), read, seed)
