"""tftp against a lock-step ceiling, both on host networking with a port for each transfer.

python bench/tftp_bulk.py RACK [ROUNDS] [CLIENTS]    RACK is up with network: host, the default
"""

import sys

from common import ceiling, compiled, interleave, load, show_rates, verdict
from rack import running_rack

LIMIT, PORT, SECONDS, BLOCK = 0.8, 6907, "60", "1468"
TRANSFERS = {"undionly.kpxe": 300, "ipxe.efi": 30}


def measure(name: str, address: str, root: str, rounds: int, clients: int) -> int:
    client, bare = compiled("tftpload"), compiled("tftpceil")
    total = TRANSFERS[name]

    def one(port: int) -> float:
        return load([str(client), address, str(port), name, BLOCK, str(clients), str(total), SECONDS], total)

    with ceiling(bare, f"{root}/{name}", ["--network", "host"], [address, str(PORT), "/file"]):
        cases = {"ceiling": lambda: one(PORT), "tftp": lambda: one(69)}
        interleave(cases, 1)
        found = interleave(cases, rounds)
    print(f"{name}, {clients} clients")
    best = show_rates(found, "tftp", "ceiling")
    return verdict(f"tftp to the ceiling, {name}, {clients} clients", best, LIMIT, least=True)


def main() -> int:
    folder = running_rack(sys.argv[1:])
    server = folder.read_rack().server
    if server.network != "host":
        raise SystemExit("network: bridge is single-port TFTP; the ceiling has a port for each transfer")
    rounds, clients = (int(word) for word in [*sys.argv[2:4], *["20", "20"][len(sys.argv[2:4]) :]])
    root = str((folder.served / "current/tftp").resolve())
    return max(measure(name, server.address, root, rounds, clients) for name in TRANSFERS)


sys.exit(main())
