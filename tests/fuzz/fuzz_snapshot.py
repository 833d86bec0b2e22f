"""Policies over a base: a snapshot that decides and explains everything it is asked, or `BadSnapshot`."""

from __future__ import annotations

from collections import Counter

from blocklists.clients import parse_address
from blocklists.decide import decide, explain
from blocklists.policy_codec import dump
from blocklists.snapshot import BadSnapshot, open_snapshot
from tests import support
from tests.fuzz.mutation import feed, mixed

BASE = support.make_base(
    {"social-media": ["facebook.com", "x.com", "t.co"], "adult": ["evil.example"]},
    {"youtube": ["youtube.com", "!accounts.youtube.com"], "tiktok": ["tiktok.com"]},
)
SEEDS = [dump(support.make_rich_policy(BASE)), dump(support.make_policy(BASE))]
ASKED = (
    "",
    "com",
    "www.facebook.com",
    "fbcdn.net",
    "a.accounts.youtube.com",
    "t.co",
    "evil.example",
    "mask.icloud.com",
)
CLIENTS = ("10.1.2.3", "2001:db8:1::1", "192.0.2.1", "fe80::1")
MOMENTS = (0.0, 7.5, 1_772_956_800.0, 4e9)


def read(data: bytes) -> str:
    try:
        snapshot = open_snapshot(data, BASE)
    except BadSnapshot as error:
        assert len(str(error)) < 3000
        return "refused"
    for client in CLIENTS:
        member = snapshot.clients.find(parse_address(client), parse_address("192.0.2.53"))
        rules = snapshot.rules(member.group)
        assert rules.groups
        for now in MOMENTS:
            for name in ASKED:
                verdict = decide(name, rules, now, frozenset({1}))
                assert verdict.valid_until > now
                assert explain(name, rules, now, frozenset({1})).verdict == verdict
    return "served"


def run(count: int, seed: int = 0) -> Counter[str]:
    return feed(count, mixed(SEEDS, as_json=True), read, seed)
