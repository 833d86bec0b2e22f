"""What is known of a name, in words: the service's `evidence.Finding` as lines beside the field. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portal.desk.evidence import Earlier, Finding
from portal.pages import words
from portal.pages.words import Tone


@dataclass(frozen=True, slots=True)
class Known:
    """Of one text that was typed. `problem`: why it is no name."""

    problem: str
    tone: Tone
    icon: str
    name: str
    headline: str
    lines: tuple[str, ...]
    earlier: tuple[Earlier, ...]


def known(finding: Finding) -> Known:
    if finding.problem is not None:
        return Known(_sentence(finding.problem), "shut", "alert", "", "", (), ())
    tone, icon, headline = _headline(finding)
    lines = [_opens(finding)] if finding.refusal is None and finding.is_blocked else []
    if finding.is_blocked and (where := _where(finding)):
        lines.insert(0, where)
    lines += [f"Open already as a platform, by {one}." for one in finding.platforms]
    return Known("", tone, icon, _name(finding), headline, tuple(lines), finding.earlier)


def _name(finding: Finding) -> str:
    """What it is about: the service, when that is what was typed; else the host."""
    word = finding.typed.strip().casefold()
    if finding.service_title and word in (finding.service, finding.service_title.casefold()):
        return finding.service_title
    return finding.name


def _headline(finding: Finding) -> tuple[Tone, str, str]:
    if finding.refusal is not None:
        return "shut", "lock", f"{finding.refusal}."
    if not finding.is_blocked:
        return "open", "open", "the filter does not block this, so no request is needed."
    return "wait", "shut", f"blocked for {_for_whom(finding)}. A request can open it."


def _for_whom(finding: Finding) -> str:
    """Everybody, or the audiences; with the number of sites where not every site of an audience is blocked."""
    met = finding.blocked
    if all(not one.open for one in met):
        return "everybody"
    parts = []
    for one in met:
        audience = words.AUDIENCES[one.audience].text.lower()
        if one.blocked:
            parts.append(audience if not one.open else f"{audience} at {words.count(len(one.blocked), 'site')}")
    return words.listed(parts)


def _where(finding: Finding) -> str:
    """Return `Category Social media, service Instagram; list NAME holds instagram.com.`"""
    parts = []
    if finding.category_title:
        parts.append(f"Category {finding.category_title}")
    if finding.service_title:
        parts.append(f"service {finding.service_title}")
    where = ", ".join(parts)
    if finding.list and finding.entry:
        held = f"list {finding.list} holds {finding.entry}"
        where = f"{where}; {held}" if where else _sentence(held)
    return f"{where}." if where else ""


def _opens(finding: Finding) -> str:
    """What a yes opens; a pasted page's whole site."""
    page = ", not one page" if finding.dropped_path and "not one page" not in finding.opens else ""
    return _sentence(f"{finding.opens}{page}")


def _sentence(text: str) -> str:
    return words.sentence(text) + ("" if text.endswith((".", "?", "!")) else ".") if text else ""


def all_known(findings: Sequence[Finding]) -> tuple[Known, ...]:
    return tuple(known(finding) for finding in findings)
