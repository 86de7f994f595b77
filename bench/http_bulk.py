"""microhttp against a bare epoll and sendfile server: 50 connections that read 100 MB each, over published ports.

python bench/http_bulk.py RACK [ROUNDS] [CONNECTIONS]    RACK is up; a file of 100 MB lies in what it serves meanwhile
"""

import os
import sys

from common import ceiling, compiled, interleave, load, show_rates, verdict
from rack import running_rack

SIZE, LIMIT, PORT, SECONDS = 100_000_000, 0.9, 8907, "90"


def main() -> int:
    folder = running_rack(sys.argv[1:])
    rounds, connections = (int(word) for word in [*sys.argv[2:4], *["5", "50"][len(sys.argv[2:4]) :]])
    server = folder.read_rack().server
    client, bare = compiled("httpload"), compiled("httpceil")
    file = folder.served / "current/http/bench.bin"
    file.write_bytes(os.urandom(1 << 20) * (SIZE >> 20) + bytes(SIZE % (1 << 20)))

    def one(port: int) -> float:
        return load([str(client), server.address, str(port), "/bench.bin", str(connections), SECONDS], connections)

    try:
        with ceiling(bare, file.resolve(), ["-p", f"{server.address}:{PORT}:8080"], ["8080", "/file"]):
            cases = {"sendfile server": lambda: one(PORT), "microhttp": lambda: one(server.http_port)}
            interleave(cases, 1)
            found = interleave(cases, rounds)
    finally:
        file.unlink()
    best = show_rates(found, "microhttp", "sendfile server")
    return verdict(f"microhttp to the sendfile server, {connections} x 100 MB", best, LIMIT, least=True)


sys.exit(main())
