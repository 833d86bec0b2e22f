"""One TLS connection towards an upstream that never blocks, and what is known to be wrong with it.

The certificate must be for the upstream's name and signed by an authority we know; anything else ends the connection
before a question is sent. What goes over it is for its owner to say (`tls.py`, `https.py`).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from resolver.config import SecureEndpoint
from resolver.poller import READ, WRITE, Poller

_EXPIRED, _NOT_YET, _OTHER_NAMES = 10, 9, (62, 64)  # X509_V_ERR_… of OpenSSL's x509_vfy.h
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)


def client_context(ca: Path | None, protocol: str | None = None) -> ssl.SSLContext:
    """Return what every connection is made with: the system's authorities, or those of the file `ca` only; `protocol`
    is what is spoken inside (ALPN). Raises `OSError` (`ssl.SSLError` is one) for a file that cannot be used."""
    context = ssl.create_default_context(cafile=str(ca) if ca is not None else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if protocol is not None:
        context.set_alpn_protocols([protocol])
    return context


def refusal(error: ssl.SSLCertVerificationError, host: str) -> str:
    """Return in words why a certificate is not accepted."""
    code = error.verify_code
    if code == _EXPIRED:
        why = "it has expired"
    elif code == _NOT_YET:
        why = "it is not valid yet"
    elif code in _OTHER_NAMES:
        why = f"it is for another name than {host}"
    elif code in _UNKNOWN_AUTHORITY:
        why = "no authority that is known here has signed it"
    else:
        why = error.verify_message
    return f"its certificate is not accepted: {why}"


class Trouble:
    """What is wrong with one upstream, said once, not for every question. `told` gets every change; empty: nothing is
    wrong any more."""

    __slots__ = ("_told", "_why")

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self._why = ""

    def begins(self, why: str) -> None:
        """It does not work, because of `why`."""
        if why != self._why:
            self._why = why
            self._told(why)

    def ends(self) -> None:
        """It works."""
        if self._why:
            self._why = ""
            self._told("")


class Channel:
    """See the module. `begun()` is called when the handshake is done, `heard(data)` for what comes, `ended(why)` when
    it is over; `why` is empty when the other side closed in order. All may write, connect again, or close."""

    __slots__ = (
        "_begun",
        "_context",
        "_ended",
        "_endpoint",
        "_events",
        "_heard",
        "_out",
        "_poller",
        "_secured",
        "_socket",
    )

    def __init__(
        self,
        endpoint: SecureEndpoint,
        context: ssl.SSLContext,
        poller: Poller,
        begun: Callable[[], None],
        heard: Callable[[bytes], None],
        ended: Callable[[str], None],
    ) -> None:
        self._endpoint = endpoint
        self._context = context
        self._poller = poller
        self._begun = begun
        self._heard = heard
        self._ended = ended
        self._socket: socket.socket | None = None
        self._secured = False  # the handshake is done
        self._out = bytearray()
        self._events = 0

    @property
    def open(self) -> bool:
        """True while there is a connection, or one is being made."""
        return self._socket is not None

    @property
    def protocol(self) -> str | None:
        """What is spoken inside, when both sides said so (ALPN)."""
        return self._socket.selected_alpn_protocol() if isinstance(self._socket, ssl.SSLSocket) else None

    def connect(self) -> None:
        """Begin to connect; there must be no connection."""
        endpoint = self._endpoint
        family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
        made: socket.socket | None = None
        try:
            made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.connect((endpoint.address, endpoint.port))
        except BlockingIOError:
            pass
        except OSError as error:
            if made is not None:
                made.close()
            self._ended(_unreachable(error))
            return
        assert made is not None
        self._socket = made
        self._events = WRITE
        self._poller.watch(made.fileno(), WRITE, self._ready)

    def write(self, data: bytes) -> None:
        """Send `data` as soon as it can be; before the handshake is done it waits."""
        self._out += data
        if self._secured:
            self._ready(0)

    def close(self) -> None:
        """Close at once; what was not sent is forgotten."""
        self._out.clear()
        self._secured = False
        if self._socket is not None:
            self._poller.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _ready(self, mask: int) -> None:
        """Go on: connect, shake hands, write, read, as far as the socket lets us. `mask` 0: there is more to write."""
        events = READ
        used: socket.socket | None = None
        try:
            used = self._socket if isinstance(self._socket, ssl.SSLSocket) else self._secure()
            if not self._secured:
                used.do_handshake()
                self._secured = True
                self._begun()
            while self._socket is used and self._out:
                del self._out[: used.send(self._out)]
            while mask and self._socket is used:  # else what can be read is for the poller's round
                data = used.recv(65_537)
                if not data:
                    self._over("")
                    return
                self._heard(data)
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLWantWriteError, BlockingIOError):
            events = READ | WRITE
        except ssl.SSLCertVerificationError as error:
            self._over(refusal(error, self._endpoint.host))
            return
        except OSError as error:
            self._over(str(error) if self._secured else _unreachable(error))
            return
        if self._socket is used and used is not None and events != self._events:
            self._events = events
            self._poller.change(used.fileno(), events)

    def _secure(self) -> ssl.SSLSocket:
        """The connection stands (or failed): begin TLS on it. The descriptor stays the same."""
        plain = self._socket
        assert plain is not None
        if error := plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, "the connection is refused or lost")
        made = self._context.wrap_socket(plain, do_handshake_on_connect=False, server_hostname=self._endpoint.host)
        self._socket = made
        return made

    def _over(self, why: str) -> None:
        self.close()
        self._ended(why)


def _unreachable(error: OSError) -> str:
    return f"it cannot be reached: {error.strerror or error}"
