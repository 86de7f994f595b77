"""Machines that boot through real services, each from an address of its own. Runs in a container with NET_ADMIN.

machines.py TFTP_HOST HTTP_HOST COUNT. What breaks off is asked for again, as firmware does. While stdin's last line is
`hold` every machine stands still: in the middle of the loader or the initrd, or before its next request. Prints `held`
when all do, and a line for each request that was broken off.
"""

import http.client
import ipaddress
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

LOADER, KERNEL, INITRD = 40_000, 200_000, 8 << 20


class Gate:
    """Where machines stand still while it is closed."""

    def __init__(self) -> None:
        self.change = threading.Condition()
        self.closed, self.still, self.awake = False, 0, 0

    def set(self, closed: bool) -> None:
        with self.change:
            self.closed = closed
            self.change.notify_all()

    def wait(self) -> None:
        with self.change:
            while self.closed:
                self.still += 1
                self.change.notify_all()
                self.change.wait()
                self.still -= 1

    def wait_until_all_are_still(self) -> None:
        with self.change:
            self.change.wait_for(lambda: self.still >= self.awake)

    def count(self, more: int) -> None:
        """A machine begins or ends."""
        with self.change:
            self.awake += more
            self.change.notify_all()


GATE = Gate()


def addresses(count: int) -> list[str]:
    """The last of this container's network, added to its card."""
    shown = subprocess.run(["ip", "-4", "-o", "address", "show", "dev", "eth0"], capture_output=True, text=True).stdout
    network = ipaddress.ip_network(re.findall(r"inet (\S+)", shown)[0], strict=False)
    last = int(network.broadcast_address)
    found = [str(ipaddress.ip_address(last - 1 - n)) for n in range(count)]
    for one in found:
        subprocess.run(["ip", "address", "add", f"{one}/{network.prefixlen}", "dev", "eth0"], check=True)
    return found


class Broken(Exception):
    """A request that got no whole answer."""


def find(host: str) -> str:
    """Its address: a container that is not running has none."""
    try:
        return socket.gethostbyname(host)
    except OSError:
        raise Broken(host) from None


def tftp(host: str, me: str, name: str) -> None:
    """RFC 1350, 512 bytes a block; a few repeats, then it begins again."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((me, 0))
        sock.settimeout(1)
        server, said = (find(host), 69), b"\0\1" + name.encode() + b"\0octet\0"
        wanted, silent, size = 1, 0, 0
        sock.sendto(said, server)
        while True:
            try:
                data, peer = sock.recvfrom(1024)
            except OSError:
                silent += 1
                if silent > 2:
                    raise Broken(name) from None
                sock.sendto(said, server)
                continue
            if data[:2] == b"\0\5":
                raise Broken(name)
            if int.from_bytes(data[2:4], "big") == wanted:
                size += len(data) - 4
                server, said, wanted, silent = peer, b"\0\4" + data[2:4], wanted + 1, 0
                if wanted == 40:
                    GATE.wait()
                sock.sendto(said, server)
                if len(data) < 516:
                    if size != LOADER:
                        raise Broken(name)
                    return


def ask(host: str, me: str, path: str, size: int | None = None, body: bytes | None = None) -> None:
    """A GET, or a PUT of `body`; a large file is read slowly, so that its server is not done when it is held."""
    link = http.client.HTTPConnection(host, 8080, timeout=20)
    try:
        link.sock = socket.socket()
        link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        link.sock.settimeout(20)
        link.sock.bind((me, 0))
        link.sock.connect((host, 8080))
        link.request("PUT" if body else "GET", path, body)
        answer, got = link.getresponse(), 0
        while chunk := answer.read(65536):
            got += len(chunk)
            if size == INITRD and got < INITRD // 4:  # what is left is more than the kernel holds for the server
                GATE.wait()
                time.sleep(0.005)
        if answer.status not in (200, 201, 204) or (size is not None and got != size):
            raise Broken(path)
    except (OSError, http.client.HTTPException) as wrong:
        raise Broken(path) from wrong
    finally:
        link.close()


def insist(what, *words, **keys) -> None:
    for _ in range(100):
        GATE.wait()
        try:
            return what(*words, **keys)
        except Broken as wrong:
            print("broken off:", wrong, flush=True)
            time.sleep(0.3)
    raise SystemExit(f"no answer: {words}")


def boot(n: int, me: str) -> None:
    chance, mac = random.Random(n), f"52-54-00-00-99-{n:02x}"
    server, web = sys.argv[1], sys.argv[2]
    inventory = json.dumps({"schema": 1, "system": {"vendor": "QEMU", "serial": f"s{n}"}}).encode()
    requests = [
        (tftp, server, me, "undionly.kpxe"),
        (ask, web, me, f"/boot/default.ipxe?mac={mac}&platform=pcbios"),
        (ask, web, me, f"/os/discovery/b/vmlinuz?m={mac}", KERNEL),
        (ask, web, me, f"/os/discovery/b/initrd?m={mac}", INITRD),
        (ask, web, me, f"/config/{mac}"), (ask, web, me, f"/inventory/{mac}.json", None, inventory),
        (ask, web, me, f"/checkin?mac={mac}&hostname=n{n}&os=discovery&uptime=4"),
    ]  # fmt: skip
    if n % 7 == 3:  # these hang
        requests = requests[:4]
    GATE.count(1)
    for what, *words in requests:
        insist(what, *words)
        time.sleep(chance.uniform(0, 0.3))
    GATE.count(-1)


def obey() -> None:
    for line in sys.stdin:
        GATE.set(line.strip() == "hold")
        if GATE.closed:
            GATE.wait_until_all_are_still()
            print("held", flush=True)


def main() -> None:
    threading.Thread(target=obey, daemon=True).start()
    count = int(sys.argv[3])
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(boot, range(count), addresses(count)))
    print("all done", flush=True)


if __name__ == "__main__":
    main()
