"""Why a name is blocked, for the client that asked: the extended error's text, short and human, or structured.

Structured errors (draft-ietf-dnsop-structured-dns-error) are I-JSON without spaces: `c` contacts, `j` justification,
`s` sub-error, `o` organisation, `l` language. Values and text only; `answers.py` puts them into a message.
"""

from __future__ import annotations

import json

from blocklists.policy import Action, Policy, ReasonKind, Verdict

LANGUAGE = "en"
SUB_ERRORS = {"malware": 1, "phishing": 2}  # category -> sub-error; any other block is the network operator's policy
OPERATOR_POLICY = 5

_TITLES = {
    ReasonKind.BRAKE: "Emergency block",
    ReasonKind.BYPASS: "Filter bypass",
    ReasonKind.CUSTOM: "District block",
    ReasonKind.REBINDING: "Private address",
}


def title(verdict: Verdict, policy: Policy) -> str:
    """Return what blocks, in words: the category's title, or what kind of block it is."""
    reason = verdict.reason
    if verdict.action is Action.REWRITE:
        return "Safe search"
    if reason.category is not None:
        return next((one.title for one in policy.categories if one.id == reason.category), reason.category)
    return _TITLES.get(reason.kind, "")


def text(verdict: Verdict, policy: Policy) -> str:
    """Return the category and where to ask; a locked category has nothing to ask for."""
    how = "" if verdict.reason.kind is ReasonKind.LOCKED or verdict.action is Action.REWRITE else "how to ask: "
    return f"{title(verdict, policy)}: {how}{policy.portal}/why"


def told(verdict: Verdict, policy: Policy) -> str:
    """Return what the extended error of an answer with this verdict says; empty for one that has none."""
    return "" if verdict.action is Action.ALLOW else text(verdict, policy)


def structured(verdict: Verdict, policy: Policy) -> tuple[bytes, ...]:
    """Return the structured error, longest first: whole, without the justification, and without the organisation too.
    Empty when the policy does not give any."""
    answering = policy.answering
    if not answering.structured:
        return ()
    contacts = [one for one in (answering.contact,) if one.startswith(("mailto:", "tel:"))]
    whole = {
        "c": contacts,
        "j": text(verdict, policy),
        "s": SUB_ERRORS.get(verdict.reason.category or "", OPERATOR_POLICY),
        "o": answering.organisation,
        "l": LANGUAGE,
    }
    kept = {key: value for key, value in whole.items() if value or key == "c"}
    found = [_json(kept), _json({key: value for key, value in kept.items() if key != "j"})]
    found.append(_json({key: value for key, value in kept.items() if key not in ("j", "o")}))
    return tuple(dict.fromkeys(found))


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
