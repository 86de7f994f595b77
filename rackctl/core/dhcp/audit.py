"""Core. What the answers on the wire mean: every conflict named, with what to change and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rackctl.core.dhcp.answers import Answer
from rackctl.core.dhcp.arch import Choice, choose_loaders
from rackctl.core.dhcp.clients import CLIENTS, Client
from rackctl.core.model import Rack

Level = Literal["error", "warning", "note"]
# How a boot file was read: `ours` (the very bytes that this rack serves), `other` (something else is there), `missing`.
FileState = Literal["ours", "other", "missing"]
_FIRST_TRY = 4.0  # seconds: a ROM asks again after 4, 8, 16 and 32 s (PXE 2.1, DHCP retries)
_BY_KEY = {client.key: client for client in CLIENTS}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong on the wire, in words, and what to do."""

    level: Level
    name: str
    text: str
    remedy: str

    def to_json(self) -> dict[str, str]:
        """A JSON object."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Scene:
    """What the rules look at. states: (boot server, boot file) -> how it was read; absent when it was not tried."""

    rack: Rack
    files: tuple[str, ...]
    answers: Sequence[Answer]
    states: Mapping[tuple[str, str], FileState]

    def of(self, client: Client, *kinds: str) -> list[Answer]:
        """The answers to one client."""
        return [a for a in self.answers if a.client == client.key and (not kinds or a.kind in kinds)]

    def state(self, answer: Answer) -> FileState | None:
        """How the answer's file was read."""
        return self.states.get((answer.boot_server, answer.boot_file))

    @property
    def choices(self) -> dict[str, Choice]:
        """Family -> what rackctl would have the client load."""
        server = self.rack.server
        return {c.family: c for c in choose_loaders(server.address, server.http_port, self.files)}


def effective(scene: Scene, client: Client) -> Answer | None:
    """The answer whose file the client takes: a proxy's, else an offer's (PXE 2.1 section 2.2)."""
    boots = [a for a in scene.of(client) if a.boot_file]
    order = {"4011": 0, "proxy": 1, "address": 2}
    return min(boots, key=lambda a: order[a.kind], default=None)


def find_problems(scene: Scene) -> list[Problem]:
    """Every problem, the worst first; a rule that holds for several clients tells them together."""
    found = [problem for rule in _RULES for problem in rule(scene)]
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda p: order[p.level])


def _nobody(scene: Scene) -> Iterator[Problem]:
    if any(a.kind == "address" for a in scene.answers):
        return
    beside = " (a proxy answered, but a proxy gives no address)" if scene.answers else ""
    yield Problem(
        "error",
        "no-server",
        f"no DHCP server offered an address{beside}",
        "is this the interface of the nodes' network, and the router's DHCP on? A server that knows only its own "
        "machines answers to --mac of one of them, a slow one within --wait 20. A rack without a router: dhcp: server "
        "in rack.yml",
    )


def _two_servers(scene: Scene) -> Iterator[Problem]:
    servers = sorted({(a.server, a.mac) for a in scene.answers if a.kind == "address"})
    if len(servers) > 1:
        named = ", ".join(f"{address} (MAC {mac})" for address, mac in servers)
        yield Problem(
            "error",
            "two-servers",
            f"{len(servers)} DHCP servers offer addresses: {named}. Which one a machine takes is chance",
            f"switch one of them off, or give each machine to one only; {scene.rack.server.address} is this master",
        )


def _slow(scene: Scene) -> Iterator[Problem]:
    best: dict[str, float] = {}
    for answer in scene.answers:
        if answer.kind != "4011":
            best[answer.server] = min(answer.delay, best.get(answer.server, answer.delay))
    for server, delay in best.items():
        if delay >= _FIRST_TRY:
            yield Problem(
                "warning",
                "slow-server",
                f"{server} takes {delay:g} s to answer; a ROM waits {_FIRST_TRY:g} s at its first try, and some "
                "firmware has no second one",
                "look at that server's load, its ping before an offer, and the switch: a port in spanning tree's "
                "learning state (no portfast) keeps quiet for 15 to 30 s",
            )


def _two_files(scene: Scene) -> Iterator[Problem]:
    """Several answers that name different files or servers for the same client."""
    told: dict[tuple[tuple[str, str, str], ...], list[Client]] = {}
    for client in CLIENTS:
        boots = tuple(sorted({(a.server, a.boot_server, a.boot_file) for a in scene.of(client) if a.boot_file}))
        if len({boot[1:] for boot in boots}) > 1:
            told.setdefault(boots, []).append(client)
    for boots, clients in told.items():
        shown = "; ".join(f"{server} says {file} from {where}" for server, where, file in boots)
        yield Problem(
            "error",
            "two-files",
            f"{_names(clients)}: told different files: {shown}. UEFI takes the proxy's, many BIOS ROMs the first",
            "clear the boot file and next-server of the server that is not to boot these machines",
        )


def _next_server_wins(scene: Scene) -> Iterator[Problem]:
    """A proxy names the file and the router names itself in siaddr: some clients then ask the router for it."""
    for client in CLIENTS:
        proxies = [a for a in scene.of(client, "proxy", "4011") if a.boot_file]
        routers = [a for a in scene.of(client, "address") if a.next_server and not a.boot_file]
        for router in routers:
            if proxies and router.next_server != proxies[0].boot_server:
                yield Problem(
                    "note",
                    "next-server-wins",
                    f"{router.server} offers next-server {router.next_server} and no file, beside the proxy "
                    f"{proxies[0].server}: a script with ${{next-server}} would ask {router.next_server}",
                    "nothing to do for rackctl's scripts, which have the absolute address; for others clear "
                    "next-server (siaddr) in the router",
                )
                return


def _only_options(scene: Scene) -> Iterator[Problem]:
    """A file in option 67 is as good as in the header (dnsmasq sends it so on request); a server in 66 alone is not."""
    for answer in scene.answers:
        if answer.kind != "address" or not answer.option_67:
            continue
        itself = answer.option_66 and answer.next_server == answer.server != answer.option_66
        if not answer.next_server or itself:
            lacks = f"names itself as next-server ({answer.server})" if itself else "has no next-server in the header"
            yield Problem(
                "warning",
                "only-options",
                f"{answer.server} sends options 66/67 ({answer.option_66 or 'no 66'}, {answer.option_67}) but {lacks}: "
                "many ROMs read the header alone and ask the router itself for the file, or nobody",
                f"set next-server (siaddr) to {scene.rack.server.address} and the boot file in that server, not only "
                "options 66 and 67; rackctl dhcp show --for KIND",
            )
            return


def _name_as_server(scene: Scene) -> Iterator[Problem]:
    for answer in scene.answers:
        if answer.boot_file and not answer.next_server and any(c.isalpha() for c in answer.option_66):
            yield Problem(
                "warning",
                "server-by-name",
                f"{answer.server} names the boot server as {answer.option_66!r}: a ROM does not ask DNS",
                f"write the address, {scene.rack.server.address}",
            )
            return


def _missing_file(scene: Scene) -> Iterator[Problem]:
    told: dict[tuple[str, str, str], list[Client]] = {}
    for client in CLIENTS:
        for answer in scene.of(client):
            if answer.boot_file and scene.state(answer) == "missing":
                told.setdefault((answer.server, answer.boot_server, answer.boot_file), []).append(client)
    for (server, where, file), clients in told.items():
        right = {c.file for client in clients if (c := scene.choices.get(client.arch.family))}
        yield Problem(
            "error",
            "missing-file",
            f"{_names(clients)}: {server} names {file} from {where}, and nothing there has that file",
            f"name {' or '.join(sorted(right)) or 'a file that is there'} from {scene.rack.server.address}, "
            "or run rackctl up if that is this rack's server",
        )


def _arch_7_and_9(scene: Scene) -> Iterator[Problem]:
    seven, nine = _BY_KEY["uefi"], _BY_KEY["uefi-ebc"]
    files = [one.boot_file if (one := effective(scene, client)) else "" for client in (seven, nine)]
    if files[0] != files[1]:
        yield Problem(
            "warning",
            "arch-7-9",
            f"UEFI x86_64 is told {files[0] or 'nothing'} when it says architecture 7 and {files[1] or 'nothing'} when "
            "it says 9; firmware of both kinds exists (RFC 4578 and the IANA registry have them the other way round)",
            f"give 7 and 9 the same file, {files[0] or files[1]}",
        )


def _menu(scene: Scene) -> Iterator[Problem]:
    bad = [a for a in scene.answers if a.pxe_menu]
    if bad:
        yield Problem(
            "warning",
            "pxe-menu",
            f"{bad[0].server} sends a PXE menu in option 43: the machine shows it or asks that server for a boot "
            "server, whatever boot file is named",
            "remove option 43 (and option 60 PXEClient) from that server, or its pxe-service/WDS menu",
        )


def _http_echo(scene: Scene) -> Iterator[Problem]:
    for answer in scene.of(_BY_KEY["http"]):
        url = answer.boot_file
        if url and not url.startswith(("http://", "https://")):
            yield Problem(
                "warning",
                "http-no-url",
                f"{answer.server} names {url} to a UEFI HTTP client, which wants a whole URL",
                "give architecture 16 the URL that rackctl dhcp show prints, or no file",
            )
        elif url and not answer.vendor_class.startswith("HTTPClient"):
            yield Problem(
                "warning",
                "http-no-echo",
                f"{answer.server} names {url} without HTTPClient in option 60: firmware ignores such an answer",
                "send option 60 HTTPClient back to architecture 16",
            )


def _loop(scene: Scene) -> Iterator[Problem]:
    """iPXE is sent a loader that does not carry our script: it asks again, and is sent it again."""
    for client in (_BY_KEY["ipxe-rackctl"], _BY_KEY["ipxe"]):
        answer = effective(scene, client)
        if answer is None or not _is_loader(answer.boot_file):
            continue
        if scene.state(answer) == "other":
            yield Problem(
                "error",
                "loop",
                f"a loop: {answer.server} sends {answer.boot_file} from {answer.boot_server} even to iPXE, and that "
                "file is not this rack's iPXE, so it has no script: it loads itself for ever",
                f"name this rack's file and {scene.rack.server.address} as next-server, or send iPXE (user-class "
                "iPXE) a script; rackctl dhcp show --for KIND",
            )
            return


def _no_file(scene: Scene) -> Iterator[Problem]:
    """Clients that a loader suits and that nobody tells one, where somebody tells others."""
    if not scene.answers:
        return
    silent = [
        client
        for client in CLIENTS
        if not client.ours
        and client.key != "ipxe"
        and client.arch.family in scene.choices
        and not effective(scene, client)
    ]
    if silent:
        every = len(silent) >= sum(not c.ours and c.key != "ipxe" and c.arch.family in scene.choices for c in CLIENTS)
        yield Problem(
            "error" if every else "warning",
            "no-file",
            f"{_names(silent)}: nobody names a boot file",
            "rackctl dhcp show --for KIND prints what to set in the router; or dhcp: proxy in rack.yml and rackctl up",
        )


def _names(clients: Sequence[Client]) -> str:
    return ", ".join(client.title for client in clients)


def _is_loader(file: str) -> bool:
    return file.rsplit("/", 1)[-1].split("?")[0].endswith((".efi", ".kpxe", ".pxe", ".0", ".kkpxe"))


_RULES: tuple[Callable[[Scene], Iterator[Problem]], ...] = (
    _nobody, _two_servers, _slow, _two_files, _missing_file, _loop, _menu, _only_options, _name_as_server,
    _arch_7_and_9, _http_echo, _no_file, _next_server_wins,
)  # fmt: skip
