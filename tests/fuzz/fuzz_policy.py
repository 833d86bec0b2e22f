"""Bytes against the policy reader: a policy that can be dumped and loaded again, or `BadPolicy`; and never another
policy by the short way (grants read one by one) than by the whole."""

from __future__ import annotations

from collections import Counter

from blocklists import policy_codec
from blocklists.policy_codec import BadPolicy, dump, load
from tests import support
from tests.fuzz.mutation import feed, mixed

SEEDS = [dump(support.make_rich_policy()), dump(support.make_policy())]


def read(data: bytes) -> str:
    try:
        policy = load(data)
    except BadPolicy as error:
        assert len(str(error)) < 3000
        return "refused"
    assert policy_codec._load_whole(data) == policy
    again = dump(policy)
    assert load(again) == policy
    assert dump(load(again)) == again
    return "read"


def run(count: int, seed: int = 0) -> Counter[str]:
    return feed(count, mixed(SEEDS, as_json=True), read, seed)
