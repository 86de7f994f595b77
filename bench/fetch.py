"""Download speed against curl's, from the same local server to the same disk: python bench/fetch.py [MiB] [ROUNDS]

rackctl writes, checks the sha256 and syncs to the disk; curl only writes. So each is also timed as the other works:
curl followed by sync and sha256sum, and rackctl without its sync. The server is a process of its own. Timed from the
first request to the end, curl with its process; the best of the rounds counts.
"""

import contextlib
import hashlib
import http.server
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from rackctl.adapters.fetch import Store, fetch_file


class Handler(http.server.BaseHTTPRequestHandler):
    """One file, by sendfile, as nginx does it."""

    file = Path()

    def log_message(self, *_args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        with open(self.file, "rb") as handle:
            self.send_response(200)
            self.send_header("Content-Length", str(os.fstat(handle.fileno()).st_size))
            self.end_headers()
            self.wfile.flush()
            self.connection.sendfile(handle)


def main() -> None:
    mib, rounds = int(sys.argv[1] if len(sys.argv) > 1 else 512), int(sys.argv[2] if len(sys.argv) > 2 else 5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Handler.file = folder / "big"
        block = os.urandom(1 << 20)
        with open(Handler.file, "wb") as out:
            for n in range(mib):
                out.write(n.to_bytes(4, "big") + block[4:])
        with open(Handler.file, "rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/big"
        times: dict[str, list[float]] = {
            "curl": [],
            "curl + sync": [],
            "curl + sync + sha256sum": [],
            "rackctl": [],
            "rackctl, no sync": [],
        }
        for n in range(rounds):
            target = folder / "curl"
            start = time.monotonic()
            subprocess.run(["curl", "-s", "--noproxy", "*", "-o", str(target), url], check=True)
            times["curl"].append(time.monotonic() - start)
            subprocess.run(["sync", str(target)], check=True)
            times["curl + sync"].append(time.monotonic() - start)
            subprocess.run(["sha256sum", str(target)], check=True, stdout=subprocess.DEVNULL)
            times["curl + sync + sha256sum"].append(time.monotonic() - start)
            target.unlink()
            os.environ["NO_PROXY"] = "127.0.0.1"
            for who in ("rackctl", "rackctl, no sync"):
                store = Store(folder / f"store{n}{who[7:]}")
                with contextlib.ExitStack() as stack:
                    if who != "rackctl":
                        for call in ("fsync", "fdatasync"):
                            stack.enter_context(mock.patch.object(os, call))
                    start = time.monotonic()
                    fetch_file(url, store, name="big", expect_sha256=digest, report=lambda _line: None)
                    times[who].append(time.monotonic() - start)
                store.path(digest).unlink()
        for who, taken in times.items():
            print(f"{who:<24} {mib / min(taken):8.0f} MiB/s")
        pairs = [("rackctl, no sync", "curl"), ("rackctl", "curl + sync"), ("rackctl", "curl + sync + sha256sum")]
        for ours, theirs in [("rackctl", "curl"), *pairs]:
            print(f"{ours + ' / ' + theirs:<42} {min(times[theirs]) / min(times[ours]):.2f}")


if __name__ == "__main__":
    main()
