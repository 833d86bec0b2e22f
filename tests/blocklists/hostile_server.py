"""A real HTTP server on loopback that answers each path as a test says, badly if need be: bytes, pauses, hang-ups."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Asked:
    path: str
    headers: dict[str, str]
    server_name: str | None  # SNI


Answer = Callable[[socket.socket, Asked], None]


def ok(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> Answer:
    """A whole, proper answer; `length` to lie about it."""

    def answer(connection: socket.socket, asked: Asked) -> None:
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
        connection.sendall("\r\n".join(head).encode("latin-1") + body)

    return answer


def raw(*pieces: bytes) -> Answer:
    def answer(connection: socket.socket, asked: Asked) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return answer


def redirect(target: str, status: int = 302) -> Answer:
    return ok(b"", f"Location: {target}", status=f"{status} Found")


@dataclass
class Server:
    """What is answered, by path, and what was asked. A list of answers is used up one by one; the last one stays."""

    port: int
    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def hang(self, connection: socket.socket, asked: Asked) -> None:
        """Say nothing until the test is over or the client has gone."""
        connection.settimeout(0.05)
        while not self.closing.is_set():
            with contextlib.suppress(TimeoutError):
                if not connection.recv(1):
                    return

    def drip(self, head: bytes, piece: bytes) -> Answer:
        """Send `piece` again and again, with pauses, for as long as the client stays."""

        def answer(connection: socket.socket, asked: Asked) -> None:
            connection.sendall(head)
            while not self.closing.wait(0.02):
                connection.sendall(piece)

        return answer

    def serve(self, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
        names: list[str | None] = [None]
        with contextlib.suppress(OSError), connection:
            if tls is not None:
                tls.sni_callback = lambda _socket, name, _context: names.append(name)
                connection = tls.wrap_socket(connection, server_side=True)
            with connection:
                data = b""
                while b"\r\n\r\n" not in data:
                    if not (more := connection.recv(65_536)):
                        return
                    data += more
                first, *lines = data.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
                headers = {key.strip().lower(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
                asked = Asked(first.split()[1], headers, names[-1])
                self.asked.append(asked)
                answer = self.answers.get(asked.path, ok(b"", status="404 Not Found"))
                if isinstance(answer, list):
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
                answer(connection, asked)


@contextlib.contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server on a free port of 127.0.0.1, with a thread for each connection, all ended with the block."""
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener.getsockname()[1])

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                if server.closing.is_set():
                    connection.close()
                    return
                threads.append(threading.Thread(target=server.serve, args=(connection, tls), daemon=True))
                threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            server.closing.set()
            with contextlib.suppress(OSError):  # wake the listener
                socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
            accepting.join(10)
            for thread in threads:
                thread.join(10)
