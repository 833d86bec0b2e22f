"""A blocklist's source on loopback that grows: what it says now, and how often it was asked."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FIRST = tuple(f"first{number}.kills.example" for number in range(50))


class ListServer:
    """One list of names, one a line."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = FIRST
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = "".join(f"{name}\n" for name in server.names).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # who asked was killed
                    return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/list"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def add(self, name: str) -> None:
        self.names = (*self.names, name)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
