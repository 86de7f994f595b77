"""Download speed against curl's, from the same local server to the same disk: python bench/fetch.py [MiB] [ROUNDS]

Both write, and leave it to the kernel when the disk gets it; rackctl checks the sha256 besides. What `up` adds before
it serves the file, and what curl needs for the same promise, is timed too: with sync, and with sha256sum. The server is
a process of its own. Timed from the first request to the end, curl with its process. The rounds are interleaved, and
begin with each in turn; the best of each counts, since other work can only slow a round down.
"""

import hashlib
import http.server
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import verdict

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
        os.environ["NO_PROXY"] = "127.0.0.1"
        times: dict[str, list[float]] = {}
        for number in range(rounds):
            for who in (by_curl, by_rackctl) if number % 2 else (by_rackctl, by_curl):
                for what, taken in who(url, digest, folder).items():
                    times.setdefault(what, []).append(taken)
        for what, taken in times.items():
            print(f"{what:<24} best {mib / min(taken):6.0f} MiB/s, median {mib / statistics.median(taken):6.0f} MiB/s")
        pairs = [("rackctl + settle", "curl + sync"), ("rackctl + settle", "curl + sync + sha256sum")]
        for ours, theirs in pairs:
            print(f"{ours + ' to ' + theirs:<44} {min(times[theirs]) / min(times[ours]):.2f}")
        sys.exit(verdict("rackctl to curl", min(times["curl"]) / min(times["rackctl"]), 0.95, least=True))


def by_curl(url: str, _digest: str, folder: Path) -> dict[str, float]:
    """Seconds that curl takes, and curl with what makes it as good as rackctl."""
    target, found = folder / "curl", {}
    commands = {
        "curl": ["curl", "-s", "--noproxy", "*", "-o", str(target), url],
        "curl + sync": ["sync", str(target)],
        "curl + sync + sha256sum": ["sha256sum", str(target)],
    }
    start = time.monotonic()
    for what, argv in commands.items():
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        found[what] = time.monotonic() - start
    target.unlink()
    return found


def by_rackctl(url: str, digest: str, folder: Path) -> dict[str, float]:
    """Seconds that a fetch takes, and a fetch with the wait for the disk that `up` adds."""
    store = Store(folder / "store")
    start = time.monotonic()
    fetch_file(url, store, name="big", expect_sha256=digest, report=lambda _line: None)
    fetched = time.monotonic() - start
    store.settle(digest)
    settled = time.monotonic() - start
    shutil.rmtree(store.root)
    return {"rackctl": fetched, "rackctl + settle": settled}


if __name__ == "__main__":
    main()
