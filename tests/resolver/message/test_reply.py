"""What of an upstream's reply is passed on: the chain from the question, the denial's proof, nothing else."""

from __future__ import annotations

import dns.flags
import dns.message
import pytest

from resolver.message.reply import Reply, read_reply
from resolver.message.wire import HEAD, WireError, header
from tests.resolver.messages import SOA, ask, read, reply

NAME = b"\x03www\x07example\x03com\0"


def walk(*answers: str, qtype: str = "A", do: bool = False, **parts: object) -> tuple[Reply, dns.message.Message]:
    """Read a reply, and what a client gets when its kept records are put behind a question."""
    query = ask("www.example.com", qtype, use_edns=0, want_dnssec=do)
    data = reply(query, *answers, **parts)  # type: ignore[arg-type]
    number = int.from_bytes(query[HEAD + len(NAME) : HEAD + len(NAME) + 2], "big")
    found = read_reply(data, NAME, number, do)
    question = data[HEAD : HEAD + len(NAME) + 4]
    message = read(b"\0\0" + header(0x8180, 1, found.answers, found.authority, 0) + question + found.body)
    return found, message


def owners(message: dns.message.Message) -> list[str]:
    return [str(rrset.name) for rrset in message.answer]


def test_the_usual_answer_is_kept_as_it_came() -> None:
    found, message = walk("www.example.com. 300 A 192.0.2.1", "www.example.com. 300 A 192.0.2.2")
    assert (found.answers, found.targets, found.negative_ttl) == (2, (), None)
    assert [str(one) for one in message.answer[0]] == ["192.0.2.1", "192.0.2.2"]


def test_additional_and_name_servers_are_cut_off() -> None:
    found, message = walk(
        "www.example.com. 300 A 192.0.2.1",
        authority=("example.com. 3600 NS ns.example.com.",),
        additional=("ns.example.com. 3600 A 192.0.2.9",),
    )
    assert (found.authority, message.authority, message.additional) == (0, [], [])


def test_a_chain_is_followed_and_every_target_is_named() -> None:
    found, message = walk(
        "www.example.com. 300 CNAME a.cdn.test.", "a.cdn.test. 60 CNAME b.cdn.test.", "b.cdn.test. 30 A 192.0.2.1"
    )
    assert found.targets == (b"\x01a\x03cdn\x04test\0", b"\x01b\x03cdn\x04test\0")
    assert owners(message) == ["www.example.com.", "a.cdn.test.", "b.cdn.test."]


def test_a_chain_out_of_order_is_followed_all_the_same() -> None:
    found, _ = walk(
        "b.cdn.test. 30 A 192.0.2.1", "a.cdn.test. 60 CNAME b.cdn.test.", "www.example.com. 300 CNAME a.cdn.test."
    )
    assert (found.answers, len(found.targets)) == (3, 2)


def test_records_off_the_chain_are_dropped_and_names_stay_right() -> None:
    found, message = walk(
        "evil.test. 300 A 192.0.2.66",
        "www.example.com. 300 CNAME mail.evil.test.",
        "bank.test. 300 A 192.0.2.66",
        "mail.evil.test. 300 A 192.0.2.1",
    )
    assert found.answers == 2
    assert owners(message) == ["www.example.com.", "mail.evil.test."]
    assert str(message.answer[0][0]) == "mail.evil.test."


def test_a_type_that_was_not_asked_for_is_dropped() -> None:
    found, message = walk("www.example.com. 300 A 192.0.2.1", "www.example.com. 300 TXT x")
    assert found.answers == 1
    assert len(message.answer) == 1


def test_a_dname_and_its_synthesized_alias_are_targets() -> None:
    found, message = walk(
        "example.com. 300 DNAME other.test.",
        "www.example.com. 300 CNAME www.other.test.",
        "www.other.test. 300 A 192.0.2.1",
    )
    assert set(found.targets) == {b"\x03www\x05other\x04test\0", b"\x05other\x04test\0"}
    assert len(message.answer) == 3


@pytest.mark.parametrize(
    ("data", "targets"),
    [
        ("0 svc.cdn.test.", (b"\x03svc\x03cdn\x04test\0",)),
        ("1 svc.cdn.test. alpn=h2", (b"\x03svc\x03cdn\x04test\0",)),
        ("1 . alpn=h2", ()),
    ],
)
def test_service_bindings_name_their_target(data: str, targets: tuple[bytes, ...]) -> None:
    found, _ = walk(f"www.example.com. 300 HTTPS {data}", qtype="HTTPS")
    assert found.targets == targets


def test_an_asked_for_alias_names_its_target_too() -> None:
    found, _ = walk("www.example.com. 300 CNAME a.cdn.test.", qtype="CNAME")
    assert (found.targets, found.negative_ttl) == ((b"\x01a\x03cdn\x04test\0",), None)


def test_a_denial_lives_by_the_smaller_of_soa_ttl_and_minimum() -> None:
    found, message = walk(authority=(SOA,), rcode="NXDOMAIN")
    assert (found.negative_ttl, found.rcode, found.authority) == (120, 3, 1)
    assert found.ttls[0][1] == 120
    assert len(message.authority) == 1


def test_a_denial_behind_an_alias_keeps_the_alias() -> None:
    found, _ = walk("www.example.com. 300 CNAME x.example.com.", authority=(SOA,), rcode="NXDOMAIN")
    assert (found.answers, found.negative_ttl, len(found.targets)) == (1, 120, 1)


def test_a_soa_that_is_not_above_the_name_proves_nothing() -> None:
    found, _ = walk(authority=("other.test. 60 SOA a. b. 1 1 1 1 60",), rcode="NXDOMAIN")
    assert (found.negative_ttl, found.authority) == (None, 0)


def test_a_referral_is_lame() -> None:
    found, _ = walk(authority=("example.com. 3600 NS ns.example.com.",))
    assert found.lame


def test_dnssec_proofs_are_kept_only_for_those_who_asked() -> None:
    proofs = (SOA, "example.com. 60 NSEC z.example.com. A RRSIG NSEC")
    assert walk(authority=proofs, rcode="NXDOMAIN", do=True)[0].authority == 2
    assert walk(authority=proofs, rcode="NXDOMAIN", do=False)[0].authority == 1


def test_unknown_types_are_carried_byte_for_byte() -> None:
    found, message = walk(r"www.example.com. 300 TYPE65280 \# 4 c00c0102", qtype="TYPE65280")
    assert found.body.endswith(b"\xc0\x0c\x01\x02")
    assert len(message.answer) == 1


@pytest.mark.parametrize(
    "answers",
    [
        ("www.example.com. 300 CNAME www.example.com.",),
        ("www.example.com. 300 CNAME a.test.", "a.test. 300 CNAME www.example.com."),
        ("www.example.com. 300 CNAME c0.test.", *(f"c{n}.test. 300 CNAME c{n + 1}.test." for n in range(20))),
    ],
)
def test_chains_that_loop_or_never_end_are_refused(answers: tuple[str, ...]) -> None:
    with pytest.raises(WireError):
        walk(*answers)


@pytest.mark.parametrize("other", ["example.com", "www.example.net", "wwww.example.co"])
def test_the_answer_to_another_question_is_refused(other: str) -> None:
    with pytest.raises(WireError):
        read_reply(reply(ask(other), f"{other}. 300 A 192.0.2.1"), NAME, 1, False)


def test_another_type_class_or_a_query_is_refused() -> None:
    for data in (reply(ask("www.example.com", "AAAA")), ask("www.example.com"), reply(ask("www.example.com"))[:20]):
        with pytest.raises(WireError):
            read_reply(data, NAME, 1, False)


def test_truncation_is_seen_before_the_records() -> None:
    found, _ = walk("www.example.com. 300 A 192.0.2.1", flags=int(dns.flags.TC))
    assert (found.truncated, found.answers) == (True, 0)


def test_a_ttl_with_the_top_bit_is_zero() -> None:
    data = bytearray(reply(ask("www.example.com"), "www.example.com. 1 A 192.0.2.1"))
    at = data.index(b"\0\0\0\x01\0\x04")
    data[at : at + 4] = b"\x80\0\0\0"
    assert read_reply(bytes(data), NAME, 1, False).ttls[0][1] == 0


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\1", b"\0\1\3svc"])
@pytest.mark.parametrize("qtype", ["HTTPS", "SVCB"])
def test_a_service_binding_without_a_whole_target_is_refused(qtype: str, data: bytes) -> None:
    query = ask("www.example.com", qtype)
    number = query[-4:-2]
    record = b"\xc0\x0c" + number + b"\0\1\0\0\1\x2c" + len(data).to_bytes(2, "big") + data
    message = query[:2] + header(0x8180, 1, 1, 0, 0) + query[HEAD:] + record
    with pytest.raises(WireError):
        read_reply(message, NAME, int.from_bytes(number, "big"), False)


def test_a_compressed_name_that_runs_on_behind_its_own_record_is_refused() -> None:
    """It would be another one, or none, once what follows the kept records is cut off."""
    query = ask("www.example.com", "HTTPS")
    start = len(query)
    value = b"\0\1" + (0xC000 | start + 11).to_bytes(2, "big")  # to its own length, as a label of four octets
    record = b"\xc0\x0c\0\x41\0\1\0\0\1\x2c" + len(value).to_bytes(2, "big") + value
    trailing = bytes(30)
    message = query[:2] + header(0x8180, 1, 1, 0, 1) + query[HEAD:] + record + trailing
    with pytest.raises(WireError):
        read_reply(message, NAME, 65, False)
