"""Bypass signals: questions by which a device asks whether it may leave the district's filter.

The answer is synthesized, the same for every query type, and never forwarded (Mozilla's canary, Apple's Private
Relay notes, RFC 9462 §6.4, RFC 7686).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from blocklists.policy import AnswerStyle

# A blocked name of this category is a signal too: a device looked for a public resolver by its name.
BOOTSTRAP = "encrypted-dns"

# Each name stands for itself and everything below it.
SIGNALS: Mapping[str, AnswerStyle] = MappingProxyType(
    {
        "use-application-dns.net": AnswerStyle.NXDOMAIN,  # Firefox: NXDOMAIN keeps DoH off
        "mask.icloud.com": AnswerStyle.NXDOMAIN,  # iCloud Private Relay: a time-out would slow the device down
        "mask-h2.icloud.com": AnswerStyle.NXDOMAIN,
        "mask-api.icloud.com": AnswerStyle.NXDOMAIN,
        "mask-canary.icloud.com": AnswerStyle.NXDOMAIN,
        "resolver.arpa": AnswerStyle.NODATA,  # RFC 9462: we designate nobody, and nobody else's answer may pass
        "onion": AnswerStyle.NXDOMAIN,  # RFC 7686 §2
    }
)
