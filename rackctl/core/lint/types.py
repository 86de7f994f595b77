"""Core. Rules CC1xx: every key and type of the cloud-config schema, as boot and as `ros config validate` take them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from rackctl.core.config.schema import CLOUD_CONFIG, FREE, Type, boot_fault, paths_of_key, strict_fault
from rackctl.core.lint.header import CloudConfig
from rackctl.core.lint.rules import Edit, Finding, check, rule
from rackctl.core.yamldoc import Value


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Keys of cloud-init and of CoreOS' reader, which look at home in a file with this header.
_FOREIGN = _words(
    "users user packages package_update package_upgrade package_reboot_if_required apt apt_sources yum_repos ntp "
    "timezone locale keyboard manage_etc_hosts manage_resolv_conf resolv_conf fqdn preserve_hostname chpasswd password "
    "ssh_pwauth disable_root ssh_keys ssh_import_id ssh_deletekeys groups growpart resize_rootfs disk_setup fs_setup "
    "swap final_message power_state coreos phone_home snap salt_minion chef puppet ca-certs ca_certs rsyslog"
)
_REMOVED = {
    "rancher.state.formatzero": "v0.5; use rancher.state.autoformat",
    "rancher.user_docker": "v0.5; use rancher.docker",
    "rancher.userdocker": "v0.4; use rancher.docker",
    "rancher.system_containers": "v0.4; use rancher.services",
    "rancher.user_containers": "v0.4; use rancher.services",
    "rancher.addons": "v0.4; use rancher.services_include",
    "rancher.autoformat": "it is in ros' schema and in no code; use rancher.state.autoformat",
    "rancher.docker.args": "it is in ros' schema and in no code; use extra_args",
    "rancher.system_docker.args": "it is in ros' schema and in no code; use extra_args",
}
_KERNEL_ONLY = frozenset({"rancher.password", "rancher.autologin"})

UNKNOWN_KEY = rule(
    "CC101", "cloud-config", "warning", "an unknown key",
    why="Boot ignores a key that it does not know, so nothing under it happens; `ros config validate` refuses it.",
    bad="#cloud-config\nrancher:\n  sysctls: {vm.swappiness: 10}\n",
    good="#cloud-config\nrancher:\n  sysctl: {vm.swappiness: 10}\n",
)  # fmt: skip
MISPLACED_KEY = rule(
    "CC102", "cloud-config", "warning", "a known key at the wrong place",
    why="A key counts only at its own path; elsewhere it is ignored.",
    bad="#cloud-config\nservices:\n  web: {image: 'nginx:1.27'}\n",
    good="#cloud-config\nrancher:\n  services:\n    web: {image: 'nginx:1.27'}\n",
)  # fmt: skip
WRONG_TYPE = rule(
    "CC103", "cloud-config", "error", "a value of the wrong type: the whole file is dropped",
    why="RancherOS converts the whole document at once. One value that does not convert, anywhere, and nothing is "
    "saved: no keys, no hostname.",
    bad="#cloud-config\nhostname: n1\nrancher:\n  modules: btrfs\n",
    good="#cloud-config\nhostname: n1\nrancher:\n  modules: [btrfs]\n",
)  # fmt: skip
KEYS_SCALAR = rule(
    "CC104", "cloud-config", "error", "`ssh_authorized_keys` is not a list: the whole file is dropped",
    why="The best-known sample of a PXE cloud-config has this fault. A string is no list, the file is dropped, and "
    "with it the key.",
    bad="#cloud-config\nssh_authorized_keys: ssh-ed25519 "
    "AAAAC3NzaC1lZDI1NTE5AAAAIE0rAHXRQx9eXTmXdPvLRdC8eGGw9ODmoLQ3ajwrzwSv me@here\n",
    good="#cloud-config\nssh_authorized_keys:\n- ssh-ed25519 "
    "AAAAC3NzaC1lZDI1NTE5AAAAIE0rAHXRQx9eXTmXdPvLRdC8eGGw9ODmoLQ3ajwrzwSv me@here\n",
)  # fmt: skip
STRICT_TYPE = rule(
    "CC105", "cloud-config", "warning", "a value that boot converts and `ros config validate` refuses",
    why="The machine boots with it, but `ros config validate` and `ros config merge` stop at it later.",
    bad="#cloud-config\nhostname: 12\n", good="#cloud-config\nhostname: '12'\n",
)  # fmt: skip
FOREIGN_KEY = rule(
    "CC106", "cloud-config", "warning", "a key of another program",
    why="RancherOS has its own reader: keys of cloud-init and CoreOS are ignored, though the header is the same.",
    bad="#cloud-config\npackages: [htop]\n", good="#cloud-config\nruncmd: [echo hello]\n",
)  # fmt: skip
KERNEL_KEY = rule(
    "CC107", "cloud-config", "warning", "a key that RancherOS reads from the kernel line alone",
    why="rancher.password and rancher.autologin are read from /proc/cmdline; in a file they do nothing.",
    bad="#cloud-config\nrancher: {autologin: ttyS0}\n", good="#cloud-config\nrancher: {debug: true}\n",
)  # fmt: skip
REMOVED_KEY = rule(
    "CC108", "cloud-config", "warning", "a key that RancherOS v1.5 no longer has",
    why="Samples of early versions are still copied; v1.5 ignores their keys.",
    bad="#cloud-config\nrancher: {user_docker: {tls: false}}\n",
    good="#cloud-config\nrancher: {docker: {tls: false}}\n",
)  # fmt: skip
TOO_LATE = rule(
    "CC109", "cloud-config", "warning", "a setting that comes too late in a fetched file",
    why="rancher.state.* and bootcmd act before the network is up, so before a file can be fetched: they belong on the "
    "kernel line (rackctl puts them there). In the config of an installed disk they are at home.",
    bad="#cloud-config\nhostname: n1\nbootcmd: [echo early]\n",
    good="#cloud-config\nhostname: n1\nruncmd: [echo late]\n",
)  # fmt: skip
NUMBER_FOR_STRING = rule(
    "CC201", "cloud-config", "error", "an unquoted value that YAML reads as another number or date",
    why="RancherOS reads the value as a number first and writes it out again as text: 0123 becomes 83 (octal), 1.10 "
    "becomes 1.1, 1e3 becomes 1000.",
    bad="#cloud-config\nhostname: 0123\n", good="#cloud-config\nhostname: '0123'\n",
)  # fmt: skip
BOOLEAN_FOR_STRING = rule(
    "CC202", "cloud-config", "warning", "an unquoted word that YAML reads as a boolean",
    why="`on`, `yes`, `y`, `no` and the like become `true` or `false` where a string is wanted.",
    bad="#cloud-config\nrancher:\n  environment: {COUNTRY: no}\n",
    good="#cloud-config\nrancher:\n  environment: {COUNTRY: 'no'}\n",
)  # fmt: skip
NOTHING = rule(
    "CC203", "cloud-config", "warning", "a key without a value",
    why="An empty value, `~` and `null` are read as not set; often the text slipped to another indentation.",
    bad="#cloud-config\nhostname: ~\n", good="#cloud-config\nhostname: n1\n",
)  # fmt: skip


@check("cloud-config")
def check_types(doc: CloudConfig) -> Iterator[Finding]:
    """Walk the file along the schema."""
    if doc.root is not None and doc.root.kind == "map":
        yield from _visit(CLOUD_CONFIG, doc.root, "")


def _visit(wanted: Type, value: Value, path: str) -> Iterator[Finding]:
    if value.kind == "null":
        if path:
            yield NOTHING.at(value.line, value.column, f"{path} has no value")
        return
    fault = boot_fault(wanted.boot, value)
    if fault:
        yield _wrong_type(wanted, value, path, *fault)
        return
    if wanted.keys is not None:
        for key, below in value.entries:
            yield from _key(wanted.keys, key, below, path)
    elif wanted.each is not None:
        for key, below in value.entries:
            yield from _visit(wanted.each, below, f"{path}.{key.text}")
        for number, below in enumerate(value.items):
            yield from _visit(wanted.each, below, f"{path}[{number}]")
    else:
        yield from _leaf(wanted, value, path)


def _key(known: dict[str, Type], key: Value, below: Value, path: str) -> Iterator[Finding]:
    full = f"{path}.{key.text}" if path else key.text
    if full in _KERNEL_ONLY:
        message = f"{full} is read from the kernel line alone: in a rack, rackctl moves it there"
        yield KERNEL_KEY.at(key.line, key.column, message)
    elif full in _REMOVED:
        yield REMOVED_KEY.at(key.line, key.column, f"{full}: {_REMOVED[full]}")
    elif key.text in known:
        if full in ("rancher.state", "bootcmd") and below.kind != "null":
            yield TOO_LATE.at(key.line, key.column, f"{full} in a fetched file is too late; put it on the kernel line")
        yield from _visit(known[key.text], below, full)
    elif not path and key.text in _FOREIGN:
        yield FOREIGN_KEY.at(key.line, key.column, f"RancherOS does not know {key.text}: it is cloud-init's or CoreOS'")
    elif not path.startswith(("rancher.services.", "rancher.bootstrap.", "rancher.cloud_init_services.")):
        yield _unknown(known, key, full)


def _unknown(known: dict[str, Type], key: Value, full: str) -> Finding:
    near = difflib.get_close_matches(key.text.lower().replace("-", "_"), list(known), n=1, cutoff=0.7)
    homes = paths_of_key(key.text)
    if not near and homes and (len(homes) == 1 or "." not in full):
        return MISPLACED_KEY.at(key.line, key.column, f"{full} is ignored here; {' or '.join(homes[:2])} is its place")
    if not near:
        return UNKNOWN_KEY.at(key.line, key.column, f"RancherOS does not know {full}")
    fix = () if not key.plain else (Edit(key.line, key.column, key.line, key.column + len(key.text), near[0]),)
    return UNKNOWN_KEY.at(key.line, key.column, f"RancherOS does not know {full}; did you mean {near[0]}?", *fix)


def _wrong_type(wanted: Type, value: Value, path: str, culprit: Value, what: str) -> Finding:
    if path == "ssh_authorized_keys" and value.scalar:
        fix = _as_list(value)
        return KEYS_SCALAR.at(value.line, value.column, "ssh_authorized_keys must be a list: - ssh-...", *fix)
    inside = " inside" if culprit is not value else ""
    message = f"{path} must be {wanted.words}; {what} stands{inside} here, and RancherOS drops the whole file"
    return WRONG_TYPE.at(culprit.line, culprit.column, message)


def _as_list(value: Value) -> tuple[Edit, ...]:
    if value.block or value.line != value.end_line:
        return ()
    return (Edit(value.line, value.column, value.line, value.column, "\n- "),)


def _leaf(wanted: Type, value: Value, path: str) -> Iterator[Finding]:
    texts = {"str": [value], "strs": value.items, "smap": [item for _, item in value.entries]}.get(wanted.boot, [])
    changed = False
    for text in texts:
        found = _changed(text, path)
        changed = changed or found is not None
        if found:
            yield found
    if not changed and not _is_free(path):
        strict = strict_fault(wanted.boot, value)
        if strict:
            message = f"{path}: ros config validate wants {wanted.words}, {strict[1]} stands here"
            yield STRICT_TYPE.at(strict[0].line, strict[0].column, message, *quote(strict[0], wanted.boot))


def _is_free(path: str) -> bool:
    parts = path.split(".")
    return any(".".join(parts[:n]) in FREE for n in range(1, len(parts) + 1))


def _changed(value: Value, path: str) -> Finding | None:
    if path.endswith(".permissions") and value.kind == "int":
        return None  # a rule of its own
    if value.kind == "bool" and value.converted() != value.text:
        message = f"{path}: {value.text} is read as {value.converted()}; quote it"
        return BOOLEAN_FOR_STRING.at(value.line, value.column, message, *quote(value))
    if value.kind in ("int", "float") and value.converted() != value.text:
        message = f"{path}: {value.text} is read as a number and becomes {value.converted()}; quote it"
        return NUMBER_FOR_STRING.at(value.line, value.column, message, *quote(value))
    if value.kind == "time":
        return NUMBER_FOR_STRING.at(
            value.line, value.column, f"{path}: {value.text} is a date; quote it", *quote(value)
        )
    return None


def quote(value: Value, wanted: str = "str") -> tuple[Edit, ...]:
    """The edit that puts a plain scalar into quotes, where a string is wanted."""
    if wanted not in ("str", "strs") or not value.plain or value.kind in ("map", "list", "str"):
        return ()
    return (Edit(value.line, value.column, value.end_line, value.end_column, f"'{value.text}'"),)
