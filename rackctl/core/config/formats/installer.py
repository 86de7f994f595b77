"""Core. preseed (Debian), autoinstall (Ubuntu), machine config (Talos). None writes to a disk unasked.

An installer that gets one of these still asks which disk to use, unless the node says `wipe_disks: true`.
"""

from __future__ import annotations

import base64
import re
import shlex
from typing import Any

from rackctl.core.config.merge import merge
from rackctl.core.config.report import INSTALLED, UNIT, UNIT_NAME
from rackctl.core.config.report import PATH as REPORT_SCRIPT
from rackctl.core.config.resolve import FileSpec, Machine
from rackctl.core.yamldoc import Value, dump_yaml, make_value, to_plain

_PRESEED = (
    "d-i debian-installer/locale string en_US.UTF-8",
    "d-i keyboard-configuration/xkb-keymap select us",
    "d-i netcfg/choose_interface select auto",
    "d-i passwd/root-login boolean true",
    "d-i passwd/make-user boolean false",
    "tasksel tasksel/first multiselect ssh-server",
)
_LATE = "preseed/late_command"


def render_preseed(machine: Machine) -> str:
    """One line per question; a later line replaces an earlier for the same; late_commands are joined."""
    lines = list(_PRESEED)
    if machine.hostname:
        lines.insert(3, f"d-i netcfg/hostname string {machine.hostname}")
    commands = _late_commands(machine)
    if commands:
        lines.append(f"d-i {_LATE} string " + "; ".join(commands))
    for source in machine.own:
        lines += join_lines(source.text)
    lines.append(f"d-i {_LATE} string {INSTALLED}")  # the last of all: what failed before is not installed
    return "\n".join(_last_answers(lines)) + "\n"


def join_lines(text: str) -> list[str]:
    """Preseed lines with those that end in a backslash made whole, without comments."""
    whole = re.sub(r"\s*\\\n\s*", " ", text)
    return [line.strip() for line in whole.split("\n") if line.strip() and not line.lstrip().startswith("#")]


def _last_answers(lines: list[str]) -> list[str]:
    answers: dict[tuple[str, ...], str] = {}
    for line in lines:
        words = line.split(None, 3)
        question = tuple(words[:2])
        if words[1:2] == [_LATE] and question in answers and len(words) == 4:
            answers[question] += "; " + words[3]
        else:
            answers[question] = line
    return list(answers.values())


def _late_commands(machine: Machine) -> list[str]:
    commands = []
    if machine.keys:
        keys = FileSpec("/root/.ssh/authorized_keys", "".join(key + "\n" for key in machine.keys), "0600")
        commands += ["mkdir -p -m 700 /target/root/.ssh", _write(keys)]
    commands += [_write(file) for file in machine.files()]
    if machine.join.unit:
        name, text = machine.join.unit
        commands += [_write(FileSpec(f"/etc/systemd/system/{name}", text)), f"in-target systemctl enable {name}"]
    commands += [_write(FileSpec(f"/etc/systemd/system/{UNIT_NAME}", UNIT)), f"in-target systemctl enable {UNIT_NAME}"]
    for command in machine.commands():
        shell = command if isinstance(command, str) else shlex.join(map(str, command))
        commands.append(f"in-target sh -c {shlex.quote(shell)}")
    return commands


def _write(file: FileSpec) -> str:
    # base64 in the target: a preseed line may hold no line end, and the installer's shell has few tools.
    content = file.content.encode()
    decode = " | base64 -d"
    if "64" in file.encoding:
        content = base64.b64decode("".join(file.content.split()))
    if file.encoding.startswith("gz"):
        decode += " | gunzip"
    target = shlex.quote(file.path)
    encoded = base64.b64encode(content).decode()
    owner = f" && chown {shlex.quote(file.owner)} {target}" if file.owner and file.owner != "root" else ""
    script = (
        f"mkdir -p $(dirname {target}) && echo {encoded}{decode} >{target} && chmod {file.permissions} {target}{owner}"
    )
    return f"in-target sh -c {shlex.quote(script)}"


def render_autoinstall(machine: Machine) -> dict[str, bytes]:
    """user-data and meta-data of cloud-init's nocloud source."""
    user: dict[str, Any] = {"hostname": machine.hostname} if machine.hostname else {}
    user["ssh_authorized_keys"] = machine.keys
    files = [_cloud_file(file) for file in machine.files()]
    commands = machine.commands()
    if machine.join.unit:
        name, text = machine.join.unit
        files.append({"path": f"/etc/systemd/system/{name}", "content": text})
        commands += ["systemctl daemon-reload", f"systemctl enable --now --no-block {name}"]
    user |= ({"write_files": files} if files else {}) | ({"runcmd": commands} if commands else {})
    ssh = {"install-server": True, "allow-pw": False, "authorized-keys": machine.keys}
    content: dict[str, Any] = {"version": 1}
    if not machine.may_wipe:
        content["interactive-sections"] = ["storage"]
    content |= {"ssh": ssh, "user-data": user}
    data = _with_sources(machine, {"autoinstall": content})
    late = data["autoinstall"].setdefault("late-commands", [])
    if isinstance(late, list):  # the last of all: what failed before is not installed
        late += [*_report_files(machine.report), INSTALLED]
    meta = {"instance-id": machine.key} | ({"local-hostname": machine.hostname} if machine.hostname else {})
    return {"user-data": ("#cloud-config\n" + dump_yaml(data)).encode(), "meta-data": dump_yaml(meta).encode()}


def _report_files(script: str) -> list[str]:
    """Commands that put the script and its unit into the target."""
    unit = f"/etc/systemd/system/{UNIT_NAME}"
    written = [
        f"mkdir -p $(dirname /target{path})\ncat >/target{path} <<'END'\n{text}END\n"
        for path, text in ((REPORT_SCRIPT, script), (unit, UNIT))
    ]
    return [*written, f"curtin in-target --target=/target -- systemctl enable {UNIT_NAME} || true"]


def _cloud_file(file: FileSpec) -> dict[str, str]:
    made = {"path": file.path, "permissions": file.permissions, "content": file.content}
    return made | {key: value for key in ("encoding", "owner") if (value := getattr(file, key))}


def _with_sources(machine: Machine, data: dict[str, Any]) -> Any:
    root: Value = make_value(data, "rackctl", 0)
    for source in machine.own:
        if source.root is not None:
            root = merge(root, source.root)
    return to_plain(root)


def render_talos(machine: Machine) -> str:
    """Empty for a machine that has no source of this kind: Talos then waits for `talosctl apply-config`.

    A Talos config holds the cluster's secrets, so a machine that is not in rack.yml gets none.
    """
    if machine.node is None or not machine.own:
        return ""
    data = _with_sources(machine, {})
    if machine.hostname:
        data.setdefault("machine", {}).setdefault("network", {})["hostname"] = machine.hostname
    return dump_yaml(data)
