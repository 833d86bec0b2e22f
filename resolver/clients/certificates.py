"""The certificate of the encrypted listeners: TLS contexts from its files, and made anew when these change."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from resolver.config import ResolverConfig

_ALPN = {"dot": ["dot"], "doh": ["h2", "http/1.1"]}


def server_context(certificate: Path, key: Path, transport: str) -> ssl.SSLContext:
    """Return the context of one kind of listener. Raises `OSError` (`ssl.SSLError` is one) for unusable files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(_ALPN[transport])
    context.sni_callback = _note_name
    return context


def _note_name(connection: Any, name: str | None, context: ssl.SSLContext) -> None:
    connection.asked_name = name  # kept with the connection, for `token_of`


class Certificate:
    """The contexts in use. Made once at start, where files that cannot be used are an error."""

    def __init__(self, config: ResolverConfig) -> None:
        assert config.certificate is not None and config.certificate_key is not None
        self._files = (config.certificate, config.certificate_key)
        self._below = f".{config.server_name.lower()}"
        self._seen = self._times()
        self._error = ""
        self._contexts = self._made()

    def context(self, transport: str) -> ssl.SSLContext:
        return self._contexts[transport]

    def token_of(self, connection: Any) -> str:
        """Return the token in the server name that a client asked for: the one label before our own name."""
        name = (getattr(connection, "asked_name", None) or "").lower()
        token = name.removesuffix(self._below)
        return token if token != name and token.isalnum() else ""

    def refresh(self) -> str:
        """Take the files anew when they changed; return what is wrong with them, empty for nothing."""
        try:
            times = self._times()
            if times != self._seen:
                self._contexts = self._made()
                self._seen = times
            self._error = ""
        except OSError as error:
            self._error = f"the certificate was renewed and cannot be used, the old one stays: {error}"
        return self._error

    def _times(self) -> tuple[int, ...]:
        return tuple(one.stat().st_mtime_ns for one in self._files)

    def _made(self) -> dict[str, ssl.SSLContext]:
        return {transport: server_context(*self._files, transport) for transport in _ALPN}
