"""A local server that behaves like GitHub: redirects, ranges, paging, and every way to fail."""

import contextlib
import hashlib
import http.server
import json
import os
import re
import time
from typing import Any

KERNEL, INITRD = os.urandom(700_001), os.urandom(900_003)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class GitHub(http.server.ThreadingHTTPServer):
    """files: path -> content under /objects, reached by a redirect. The other fields are the ways to misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.releases: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.cuts, self.cut_at = 0, 300_000
        self.fail: list[int] = []
        self.ranges = self.etags = True
        self.limited = self.elsewhere = False
        self.page_size = 2
        self.retry_after = "0"
        self.raw = b""  # the list of releases, when it is to be something else
        self.objects = ""  # the host that downloads are redirected to, as GitHub does; "" is this one
        self.sent = 0
        self.pace = 0.0  # seconds to wait after each quarter of a MiB
        self.url = f"http://127.0.0.1:{self.server_port}"

    def paths(self, prefix: str = "/objects") -> list[str]:
        return [path for path, _ in self.asked if path.startswith(prefix)]


class Handler(http.server.BaseHTTPRequestHandler):
    server: GitHub

    def log_message(self, *_args: object) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client that was killed, or that refuses the rest
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().finish()

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        for start in range(0, len(body), 1 << 18):
            self.wfile.write(body[start : start + (1 << 18)])
            self.server.sent += min(1 << 18, len(body) - start)
            time.sleep(self.server.pace)

    def do_GET(self) -> None:
        hub = self.server
        hub.asked.append((self.path, dict(self.headers)))
        if self.path.startswith("/repos/"):
            self.listing()
        elif hub.fail:
            self.reply(hub.fail.pop(0), Retry_After=hub.retry_after)
        elif self.path.startswith("/dl/"):
            self.reply(302, Location=hub.objects + "/objects/" + self.path[4:])
        elif (content := hub.files.get(self.path.removeprefix("/objects/"))) is None:
            self.reply(404, b"Not Found")
        else:
            self.body(content)

    def body(self, content: bytes) -> None:
        hub, tag = self.server, f'"{sha(content)[:16]}"'
        headers = {"ETag": tag} if hub.etags else {}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and hub.ranges and self.headers.get("If-Range", tag) == tag else 0
        if start >= len(content) > 0:
            return self.reply(416, Content_Range=f"bytes */{len(content)}")
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if hub.cuts and len(content) > hub.cut_at:
            hub.cuts -= 1
            self.send_response(206 if start else 200)
            for name, value in {"Content-Length": str(len(content) - start), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[start : start + hub.cut_at])
            self.close_connection = True
            return None
        return self.reply(206 if start else 200, content[start:], **headers)

    def listing(self) -> None:
        hub = self.server
        if hub.fail:
            return self.reply(hub.fail.pop(0), Retry_After="3600")
        if hub.limited:
            return self.reply(403, X_RateLimit_Remaining="0", X_RateLimit_Limit="60", X_RateLimit_Reset="1700000000")
        if hub.raw:
            return self.reply(200, hub.raw)
        found = re.search(r"[?&]page=(\d+)", self.path)
        page = int(found[1]) if found else 1
        asked = re.search(r"[?&]per_page=(\d+)", self.path)
        size = min(hub.page_size, int(asked[1]) if asked else 30)
        more = {}
        if len(hub.releases) > page * size:
            host = "http://127.0.0.2:1" if hub.elsewhere else hub.url
            more["Link"] = f'<{host}/repos/rancher/os/releases?per_page=100&page={page + 1}>; rel="next"'
        body = json.dumps(hub.releases[(page - 1) * size : page * size]).encode()
        more["ETag"] = f'"{sha(body)[:16]}"'
        if self.headers.get("If-None-Match") == more["ETag"]:
            return self.reply(304, **more)
        return self.reply(200, body, **more)


def release(hub: GitHub, tag: str, sums: bool = True) -> None:
    hub.files |= {f"{tag}/vmlinuz": KERNEL, f"{tag}/initrd": INITRD}
    if sums:
        lines = [f"sha256: {sha(KERNEL)}  vmlinuz", "md5: 0123  vmlinuz", f"sha256: {sha(INITRD)}  initrd"]
        hub.files[f"{tag}/checksums.txt"] = ("\n".join(lines) + "\n").encode()
