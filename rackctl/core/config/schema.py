"""Core. The cloud-config schema of RancherOS v1.5: every key as boot and as `ros config validate` take it.

The two disagree, so both are here. `boot`: the Go type that the file is converted to; one value that does not convert
makes RancherOS drop the whole file. `strict`: the JSON schema of `ros config validate` (config/schema.go).
"""

from __future__ import annotations

from dataclasses import dataclass

from rackctl.core.yamldoc import Value

_WORDS = {
    "str": "a string", "bool": "true or false", "int": "a whole number", "strs": "a list of strings",
    "smap": "a map of strings", "bmap": "a map of booleans", "map": "a map", "list": "a list", "bool?": "true or false",
    "command": "a string or a list of strings", "commands": "a list of commands", "mounts": "a list of lists",
    "strorlist": "a string or a list of strings", "mapeq": "a map or a list of NAME=value strings",
    "slicemap": "a map or a list of strings", "mapcolon": "a map or a list of strings", "ulimits": "a map of limits",
    "any": "anything",
}  # fmt: skip


@dataclass(frozen=True)
class Type:
    """boot and strict name a type; keys: a fixed map's; each: of a free map's or list's values."""

    boot: str
    strict: str = ""
    keys: dict[str, Type] | None = None
    each: Type | None = None

    @property
    def words(self) -> str:
        """For people."""
        return _WORDS[self.boot]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _map(keys: dict[str, Type], strict: str = "") -> Type:
    return Type("map", strict, keys)


def _of(each: Type) -> Type:
    return Type("map", "map", None, each)


def _same(boot: str, names: str) -> dict[str, Type]:
    return {name: Type(boot) for name in names.split()}


STR, BOOL, INT, STRS, SMAP = (Type(name) for name in ("str", "bool", "int", "strs", "smap"))

_FILE = _map(_same("str", "encoding container content owner path permissions"))
_INTERFACE = _map(
    {
        **_same("str", "match dhcp_args address gateway gateway_ipv6 bridge bond vlans wifi_network"),
        **_same("bool", "dhcp ipv4ll"),
        **_same("strs", "addresses post_up pre_up"),
        "mtu": INT,
        "bond_opts": SMAP,
    }
)
_NETWORK = _map(
    {
        **_same("strs", "pre_cmds post_cmds"),
        **_same("str", "http_proxy https_proxy no_proxy"),
        "dhcp_timeout": INT,
        "dns": _map(_same("strs", "nameservers search")),
        "interfaces": _of(_INTERFACE),
        "wifi_networks": _of(
            _map(
                {
                    **_same("str", "address gateway ssid psk pairwise group eap identity anonymous_identity key_mgmt"),
                    **_same("int", "scan_ssid priority eapol_flags"),
                    **_same("strs", "ca_certs client_certs private_keys private_key_passwds phases"),
                    "password": STR,
                }
            )
        ),
        "modem_networks": _of(_map(_same("str", "apn extra_args"))),
    }
)
# `args` is in ros' schema and in no struct: it does nothing. `exec` may be null for validate alone.
_DOCKER = _map(
    {
        **_same(
            "str", "engine server_cert server_key ca_cert ca_key storage_context bridge bip config_file containerd"
        ),
        **_same("str", "exec_root group graph log_driver pid_file registry_mirror storage_driver"),
        **_same("bool?", "exec debug live_restore restart selinux_enabled userland_proxy"),
        **_same("strs", "tls_args args extra_args environment insecure_registry host"),
        "tls": BOOL,
        "log_opts": SMAP,
    }
)
_STATE = _map(
    {
        **_same("str", "directory fstype dev script oem_fstype oem_dev boot_fstype boot_dev"),
        **_same("bool", "wait required mdadm_scan cryptsetup lvm_scan rngd"),
        "autoformat": STRS,
    }
)
# Compose file version 1: version 2's keys are dropped without a word.
SERVICE = _map(
    {
        **_same("str", "build cgroup_parent cpuset container_name dockerfile domainname hostname image log_driver"),
        **_same("str", "mac_address name net pid uts ipc restart user volume_driver working_dir"),
        **_same("strs", "cap_add cap_drop devices ports security_opt volumes volumes_from expose external_links"),
        **_same("strs", "extra_hosts"),
        **_same("int", "cpu_quota cpu_shares mem_limit memswap_limit"),
        **_same("bool", "privileged read_only stdin_open tty"),
        **_same("command", "command entrypoint"),
        **_same("strorlist", "dns dns_search env_file"),
        "environment": Type("mapeq"),
        "labels": Type("slicemap"),
        "links": Type("mapcolon"),
        "log_opt": SMAP,
        "ulimits": Type("ulimits"),
    }
)
_SERVICES = _of(SERVICE)
_RANCHER = _map(
    {
        "console": STR,
        "environment": SMAP,
        **{name: _SERVICES for name in ("cloud_init_services", "services", "bootstrap")},
        "autoformat": Type("map"),
        **{name: _DOCKER for name in ("bootstrap_docker", "system_docker", "docker")},
        "cloud_init": _map({"datasources": STRS}),
        **_same(
            "bool", "debug rm_usr no_sharedroot log force_console_rebuild recovery hypervisor_service preload_wait"
        ),
        **_same("strs", "disable modules restart_services"),
        "services_include": Type("bmap"),
        "network": _NETWORK,
        "repositories": _of(_map({"url": STR})),
        "ssh": _map({"keys": SMAP, "daemon": BOOL, "port": INT, "listen_address": STR}),
        "state": _STATE,
        "upgrade": _map(_same("str", "url image rollback policy")),
        "registry_auths": Type("map"),
        "defaults": _map({"hostname": STR, "docker": _DOCKER, "network": _NETWORK, "system_docker_logs": STR}),
        "resize_device": STR,
        "sysctl": SMAP,
        **_same("int", "shutdown_timeout http_load_retries"),
    }
)
CLOUD_CONFIG = _map(
    {
        "ssh_authorized_keys": STRS,
        "write_files": Type("list", "list", None, _FILE),
        "hostname": STR,
        "mounts": Type("mounts"),
        "rancher": _RANCHER,
        "runcmd": Type("commands"),
        "bootcmd": Type("commands"),
    }
)
# Where `ros config validate` looks no deeper: a free object.
FREE = _words(
    "rancher.environment rancher.cloud_init_services rancher.services rancher.bootstrap rancher.services_include "
    "rancher.repositories rancher.registry_auths rancher.sysctl rancher.network.dns rancher.network.interfaces "
    "rancher.network.wifi_networks rancher.network.modem_networks rancher.ssh.keys rancher.docker.log_opts "
    "rancher.defaults.docker runcmd bootcmd mounts rancher.restart_services"
)


def boot_fault(wanted: str, value: Value) -> tuple[Value, str] | None:
    """The value that RancherOS cannot convert, and what it is; None if boot takes it. `map` and `list` say nothing of
    what is inside."""
    if value.kind == "null":
        return (value, "nothing") if wanted in ("mapeq", "slicemap", "mapcolon") and value.text else None
    return _FAULTS.get(wanted, _no_fault)(value)


def _no_fault(value: Value) -> None:
    return None


def _scalar(value: Value) -> tuple[Value, str] | None:
    return None if value.scalar else (value, describe(value))


def _bool(value: Value) -> tuple[Value, str] | None:
    fits = value.kind == "bool" or (value.kind == "str" and value.text.lower() in _BOOL_WORDS)
    return None if fits else (value, describe(value))


_BOOL_WORDS = _words("y yes true on n no false off")


def _int(value: Value) -> tuple[Value, str] | None:
    return None if value.kind == "int" or (value.kind == "str" and value.text.isdigit()) else (value, describe(value))


def _strs(value: Value) -> tuple[Value, str] | None:
    if value.kind != "list":
        return value, describe(value)
    return next((fault for item in value.items if (fault := _scalar(item))), None)


def _smap(value: Value) -> tuple[Value, str] | None:
    if value.kind != "map":
        return value, describe(value)
    return next((fault for _, item in value.entries if (fault := _scalar(item))), None)


def _bmap(value: Value) -> tuple[Value, str] | None:
    if value.kind != "map":
        return value, describe(value)
    return next((fault for _, item in value.entries if (fault := _bool(item))), None)


def _true_strings(value: Value) -> tuple[Value, str] | None:
    """Lists behind a Go interface: 5 and true are refused, not converted."""
    return next(((item, describe(item)) for item in value.items if item.kind != "str"), None)


def _command(value: Value) -> tuple[Value, str] | None:
    if value.kind == "list":
        return _true_strings(value)
    return None if value.kind == "str" else (value, describe(value))


def _commands(value: Value) -> tuple[Value, str] | None:
    if value.kind != "list":
        return value, describe(value)
    return next((fault for item in value.items if (fault := _command(item))), None)


def _mounts(value: Value) -> tuple[Value, str] | None:
    if value.kind != "list":
        return value, describe(value)
    return next((fault for item in value.items if (fault := _strs(item))), None)


def _pairs(value: Value, kinds: tuple[str, ...]) -> tuple[Value, str] | None:
    if value.kind == "list":
        return _true_strings(value)
    if value.kind != "map":
        return value, describe(value)
    return next(((item, describe(item)) for _, item in value.entries if item.kind not in kinds), None)


def _ulimits(value: Value) -> tuple[Value, str] | None:
    if value.kind != "map":
        return value, describe(value)
    return next(((v, describe(v)) for _, v in value.entries if v.kind != "int" and len(v.entries) != 2), None)


def _any_list(value: Value) -> tuple[Value, str] | None:
    return None if value.kind == "list" else (value, describe(value))


def _any_map(value: Value) -> tuple[Value, str] | None:
    return None if value.kind == "map" else (value, describe(value))


_FAULTS = {
    "str": _scalar, "bool": _bool, "bool?": _bool, "int": _int, "strs": _strs, "smap": _smap, "bmap": _bmap,
    "command": _command, "strorlist": _command, "commands": _commands, "mounts": _mounts, "ulimits": _ulimits,
    "mapeq": lambda v: _pairs(v, ("str", "int")), "mapcolon": lambda v: _pairs(v, ("str", "int")),
    "slicemap": lambda v: _pairs(v, ("str",)), "list": _any_list, "map": _any_map,
}  # fmt: skip


def strict_fault(wanted: str, value: Value) -> tuple[Value, str] | None:
    """What `ros config validate` refuses and boot takes."""
    if wanted == "strs" and value.kind == "list":
        wrong = next(((item, describe(item)) for item in value.items if item.kind != "str"), None)
        return wrong or _doubled(value)
    kinds = {"str": ("str",), "bool": ("bool",), "bool?": ("bool", "null"), "int": ("int",)}.get(wanted)
    return None if kinds is None or value.kind in kinds else (value, describe(value))


def _doubled(value: Value) -> tuple[Value, str] | None:
    seen: set[str] = set()
    for item in value.items:
        if item.text in seen:
            return item, f"{item.text[:40]!r} a second time"
        seen.add(item.text)
    return None


def describe(value: Value) -> str:
    """`a list`, `the number 5`, `the boolean yes`: what stands there."""
    if value.kind in ("map", "list"):
        return f"a {value.kind}"
    if value.kind == "null":
        return "nothing"
    word = {"str": "the string", "int": "the number", "float": "the number", "bool": "the boolean", "time": "the date"}
    return f"{word[value.kind]} {value.text[:40]}"


def paths_of_key(name: str) -> list[str]:
    """Every fixed path that ends in this key: where a misplaced key belongs."""
    found: list[str] = []

    def visit(kind: Type, path: str) -> None:
        for key, below in (kind.keys or {}).items():
            here = f"{path}.{key}" if path else key
            if key == name:
                found.append(here)
            visit(below, here)

    visit(CLOUD_CONFIG, "")
    return found
