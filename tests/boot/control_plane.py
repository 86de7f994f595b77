"""A control plane that knows one token, for the tests."""

import base64
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def serve_control_plane(address: str, port: int, token: str) -> Iterator[list[dict[str, str]]]:
    """Answers an agent's first question as k3s does: 200 with the right token, else 401. What was asked is recorded."""
    asked: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "").removeprefix("Basic ")
            pair = base64.b64decode(given).decode(errors="replace")
            right = pair == token.partition("::")[2] and self.path == "/v1-k3s/config"
            asked.append({"path": self.path, "pair": pair, "node": self.headers.get("K3s-Node-Name", "")})
            self.send_response(200 if right else 401)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer((address, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
