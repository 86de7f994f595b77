"""Core. Rules CC3xx: Docker, services and the network of a cloud-config."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterator

from rackctl.core.config.schema import SERVICE
from rackctl.core.lint.header import CloudConfig
from rackctl.core.lint.rules import Edit, Finding, check, rule
from rackctl.core.yamldoc import Value, is_sexagesimal

_PLACES = (("rancher", "services"), ("rancher", "bootstrap"), ("rancher", "cloud_init_services"))
_TLS_KEYS = ("ca_cert", "ca_key", "server_cert", "server_key")
_PERIODIC = re.compile(r"^\$\{?\w+\}?$")
_V1_NAME = {"network_mode": "net", "mem_swappiness": "memswap_limit", "logging": "log_driver and log_opt",
            "depends_on": "the label io.rancher.os.after", "networks": "net"}  # fmt: skip

TLS_WITHOUT_KEYS = rule(
    "CC301", "cloud-config", "error", "`docker.tls` without its certificates: Docker never starts",
    why="`tls: true` makes dockerd want ca.pem, server-cert.pem and server-key.pem; nothing makes them. dockerd "
    "ends, is started again every three seconds, and every service without the system scope waits for it until "
    "ros-sysinit gives up after 300 seconds: no user container ever starts.",
    bad="#cloud-config\nrancher:\n  docker:\n    tls: true\n",
    good="#cloud-config\nrancher:\n  docker:\n    tls: false\n",
)  # fmt: skip
NO_TAG = rule(
    "CC302", "cloud-config", "warning", "an image without a fixed tag",
    why="`latest` is another image tomorrow, and RancherOS' Docker 19.03 on Linux 4.14 runs fewer of them every year.",
    bad="#cloud-config\nrancher:\n  services:\n    web: {image: nginx}\n",
    good="#cloud-config\nrancher:\n  services:\n    web: {image: 'nginx:1.27.2'}\n",
)  # fmt: skip
COMPOSE_2 = rule(
    "CC303", "cloud-config", "warning", "a service key that compose file version 1 does not have",
    why="rancher.services is compose version 1. Keys of later versions (network_mode, deploy, healthcheck...) are "
    "dropped without a word, so the service runs without them.",
    bad="#cloud-config\nrancher:\n  services:\n    web: {image: 'nginx:1.27.2', network_mode: host}\n",
    good="#cloud-config\nrancher:\n  services:\n    web: {image: 'nginx:1.27.2', net: host}\n",
)  # fmt: skip
COMPOSE_TOP = rule(
    "CC304", "cloud-config", "error", "`version:` among the services: the whole file is dropped",
    why="Each key under rancher.services is a service, so `version: \"2\"` is a service that is a string: it does not "
    "convert, and nothing of the file is saved.",
    bad="#cloud-config\nrancher:\n  services:\n    version: '2'\n    web: {image: 'nginx:1.27.2'}\n",
    good="#cloud-config\nrancher:\n  services:\n    web: {image: 'nginx:1.27.2'}\n",
)  # fmt: skip
NO_IMAGE = rule(
    "CC305", "cloud-config", "warning", "a service without an image",
    why="RancherOS cannot start it unless a service of that name is built in.",
    bad="#cloud-config\nrancher:\n  services:\n    web: {net: host}\n",
    good="#cloud-config\nrancher:\n  services:\n    web: {image: 'nginx:1.27.2', net: host}\n",
)  # fmt: skip
BASE_60 = rule(
    "CC306", "cloud-config", "warning", "an unquoted pair of numbers that YAML 1.1 reads to base 60",
    why="`22:22` is 1342 to YAML 1.1. RancherOS keeps the text; Docker Compose, cloud-init and most other readers do "
    "not.",
    bad="#cloud-config\nrancher:\n  services:\n    web: {image: 'nginx:1.27.2', ports: [22:22]}\n",
    good="#cloud-config\nrancher:\n  services:\n    web: {image: 'nginx:1.27.2', ports: ['22:22']}\n",
)  # fmt: skip
PORTS_ON_HOST = rule(
    "CC307", "cloud-config", "warning", "`ports` with `net: host`",
    why="With the host's network every port is open already; the mapping is ignored.",
    bad="#cloud-config\nrancher:\n  services:\n    web: {image: 'nginx:1.27.2', net: host, ports: ['80:80']}\n",
    good="#cloud-config\nrancher:\n  services:\n    web: {image: 'nginx:1.27.2', net: host}\n",
)  # fmt: skip
USELESS_SOURCE = rule(
    "CC310", "cloud-config", "warning", "datasources in a file that came from a datasource",
    why="The sources are read from the kernel line and from the disk before any fetch; here they are too late.",
    bad="#cloud-config\nrancher:\n  cloud_init: {datasources: ['url:http://10.0.0.1/c']}\n",
    good="#cloud-config\nhostname: n1\n",
)  # fmt: skip
BAD_ADDRESS = rule(
    "CC320", "cloud-config", "error", "an interface address that is none, or lacks its prefix length",
    why="RancherOS hands it to `ip addr add`: without `/24` the machine has a /32 and reaches nobody.",
    bad="#cloud-config\nrancher:\n  network:\n    interfaces:\n      eth0: {address: 10.0.0.5}\n",
    good="#cloud-config\nrancher:\n  network:\n    interfaces:\n      eth0: {address: 10.0.0.5/24, dhcp: false}\n",
)  # fmt: skip
FAR_GATEWAY = rule(
    "CC321", "cloud-config", "error", "a gateway outside the interface's subnet",
    why="The kernel refuses a route over a gateway that it cannot reach directly; the machine has no default route.",
    bad="#cloud-config\nrancher:\n  network:\n    interfaces:\n      eth0: {address: 10.0.0.5/24, gateway: 10.0.1.1}\n",
    good="#cloud-config\nrancher:\n  network:\n    interfaces:\n      eth0: {address: 10.0.0.5/8, gateway: 10.0.0.1}\n",
)  # fmt: skip
DHCP_AND_STATIC = rule(
    "CC322", "cloud-config", "warning", "a static address and `dhcp: true` on one interface",
    why="Both are set, in an order that depends on the DHCP server's speed; the default route may be either's.",
    bad="#cloud-config\nrancher:\n  network:\n    interfaces:\n      eth0: {address: 10.0.0.5/24, dhcp: true}\n",
    good="#cloud-config\nrancher:\n  network:\n    interfaces:\n      eth0: {address: 10.0.0.5/24, dhcp: false}\n",
)  # fmt: skip
BAD_NAMESERVER = rule(
    "CC323", "cloud-config", "error", "a name server that is no address",
    why="resolv.conf takes addresses only; a name there is skipped and no name resolves.",
    bad="#cloud-config\nrancher:\n  network:\n    dns: {nameservers: [dns.example.org]}\n",
    good="#cloud-config\nrancher:\n  network:\n    dns: {nameservers: [10.0.0.1]}\n",
)  # fmt: skip


@check("cloud-config")
def check_tls(doc: CloudConfig) -> Iterator[Finding]:
    """rancher.docker.tls. For system_docker it has no effect, whatever is told."""
    docker = doc.find("rancher", "docker")
    tls = docker.get("tls") if docker else None
    if docker and tls and tls.text.lower() in ("true", "yes", "on", "y"):
        missing = [key for key in _TLS_KEYS if not ((value := docker.get(key)) and value.text.strip())]
        if missing:
            message = f"tls: true without {', '.join(missing)}: Docker never starts, nor does any service that needs it"
            yield TLS_WITHOUT_KEYS.at(tls.line, tls.column, message)


@check("cloud-config")
def check_services(doc: CloudConfig) -> Iterator[Finding]:
    """rancher.services and its two like."""
    for place in _PLACES:
        found = doc.find(*place)
        for key, service in found.entries if found else ():
            if key.text in ("version", "services") and place[1] == "services":
                yield COMPOSE_TOP.at(key.line, key.column, f"{key.text} is read as a service; put services right here")
            elif service.kind == "map":
                yield from _service(key, service)


def _service(key: Value, service: Value) -> Iterator[Finding]:
    known = SERVICE.keys or {}
    for name, _ in service.entries:
        if name.text not in known:
            hint = _V1_NAME.get(name.text) or next(iter(difflib.get_close_matches(name.text, list(known), 1, 0.75)), "")
            message = f"compose version 1 has no {name.text}; it is dropped" + (f"; use {hint}" if hint else "")
            yield COMPOSE_2.at(name.line, name.column, message)
    image, ports = service.get("image"), service.get("ports")
    if image is None and service.get("build") is None:
        yield NO_IMAGE.at(key.line, key.column, f"{key.text} has no image")
    elif image and image.kind == "str" and _untagged(image.text):
        yield NO_TAG.at(image.line, image.column, f"{image.text[:80]} has no fixed tag")
    net = service.get("net")
    if net and net.text == "host" and ports and ports.items:
        yield PORTS_ON_HOST.at(ports.line, ports.column, "net: host opens every port already; ports is ignored")
    for port in ports.items if ports else ():
        if port.plain and is_sexagesimal(port.text):
            fix = Edit(port.line, port.column, port.end_line, port.end_column, f"'{port.text}'")
            yield BASE_60.at(port.line, port.column, f"quote {port.text}", fix)


def _untagged(image: str) -> bool:
    name = image.rpartition("/")[2]
    return "$" not in name and "@" not in name and (":" not in name or name.endswith(":latest"))


@check("cloud-config")
def check_datasources(doc: CloudConfig) -> Iterator[Finding]:
    """rancher.cloud_init.datasources."""
    found = doc.find("rancher", "cloud_init", "datasources")
    if found:
        yield USELESS_SOURCE.at(found.line, found.column, "datasources in a fetched file come too late")


@check("cloud-config")
def check_network(doc: CloudConfig) -> Iterator[Finding]:
    """rancher.network."""
    servers = doc.find("rancher", "network", "dns", "nameservers")
    for server in servers.items if servers else ():
        if server.scalar and not _PERIODIC.match(server.text) and not _is_address(server.text):
            yield BAD_NAMESERVER.at(server.line, server.column, f"{server.text[:60]} is no address")
    interfaces = doc.find("rancher", "network", "interfaces")
    for _, card in interfaces.entries if interfaces else ():
        if card.kind == "map":
            yield from _interface(card)


def _interface(card: Value) -> Iterator[Finding]:
    one, more = card.get("address"), card.get("addresses")
    addresses = [a for a in [one, *(more.items if more else [])] if a and a.kind == "str" and "$" not in a.text]
    networks = []
    for address in addresses:
        try:
            found = ipaddress.ip_interface(address.text)
        except ValueError:
            yield BAD_ADDRESS.at(address.line, address.column, f"{address.text[:60]} is no address as 10.0.0.5/24")
            continue
        if "/" not in address.text:
            yield BAD_ADDRESS.at(address.line, address.column, f"{address.text} needs its prefix length, as in /24")
        networks.append(found.network)
    gateway, dhcp = card.get("gateway"), card.get("dhcp")
    if gateway and gateway.kind == "str" and _is_address(gateway.text):
        reach = [net for net in networks if ipaddress.ip_address(gateway.text) in net]
        if networks and not reach and all(net.prefixlen < net.max_prefixlen for net in networks):
            shown = ", ".join(map(str, networks))
            yield FAR_GATEWAY.at(gateway.line, gateway.column, f"{gateway.text} is not in {shown}")
    if addresses and dhcp and dhcp.kind == "bool" and dhcp.converted() == "true":
        yield DHCP_AND_STATIC.at(dhcp.line, dhcp.column, "dhcp: true beside a static address")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
