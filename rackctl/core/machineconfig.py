"""Core. The file that tells a machine who it is, in the form its OS reads: path below http/config/ -> content.

None of them writes to a disk unasked: an installer that gets one still asks which disk to use.
"""

from __future__ import annotations

import io
import json
from urllib.parse import quote

from ruamel.yaml import YAML

from rackctl.core.catalog import ConfigKind
from rackctl.core.model import Rack

IGNITION = "3.3.0"  # the newest version that Flatcar and Fedora CoreOS both read

_PRESEED = """\
d-i debian-installer/locale string en_US.UTF-8
d-i keyboard-configuration/xkb-keymap select us
d-i netcfg/choose_interface select auto
{hostname}d-i passwd/root-login boolean true
d-i passwd/make-user boolean false
tasksel tasksel/first multiselect ssh-server
{keys}"""


def render_machine_config(rack: Rack, kind: ConfigKind, key: str, hostname: str | None) -> dict[str, bytes]:
    """Empty for a kind that rackctl does not write; the kernel is then told of no config.

    key: the machine's name in URLs; hostname: None for a machine that is not in rack.yml.
    """
    if kind in ("cloud-config", "k3os"):
        return {key: render_cloud_config(rack, hostname).encode()}
    if kind == "ignition":
        return {key: _ignition(rack, hostname).encode()}
    if kind == "preseed":
        return {key: _preseed(rack, hostname).encode()}
    if kind == "autoinstall":
        meta = {"instance-id": key} | ({"local-hostname": hostname} if hostname else {})
        return {
            f"{key}/user-data": _autoinstall(rack, hostname).encode(),
            f"{key}/meta-data": _dump(meta).encode(),
        }
    return {}


def render_cloud_config(rack: Rack, hostname: str | None) -> str:
    """RancherOS reads nothing of a file whose very first line is not `#cloud-config`."""
    content: dict[str, object] = {"hostname": hostname} if hostname else {}
    content["ssh_authorized_keys"] = list(rack.ssh_authorized_keys)
    return "#cloud-config\n" + _dump(content)


def _ignition(rack: Rack, hostname: str | None) -> str:
    content: dict[str, object] = {"ignition": {"version": IGNITION}}
    if rack.ssh_authorized_keys:
        content["passwd"] = {"users": [{"name": "core", "sshAuthorizedKeys": list(rack.ssh_authorized_keys)}]}
    if hostname:
        file = {"path": "/etc/hostname", "mode": 0o644, "contents": {"source": "data:," + quote(hostname + "\n")}}
        content["storage"] = {"files": [file]}
    return json.dumps(content, indent=2) + "\n"


def _preseed(rack: Rack, hostname: str | None) -> str:
    name = f"d-i netcfg/hostname string {hostname}\n" if hostname else ""
    keys = ""
    if rack.ssh_authorized_keys:
        lines = "\\n".join(
            key.replace("'", "").replace("%", "%%").replace("\\", "") for key in rack.ssh_authorized_keys
        )
        keys = (
            "d-i preseed/late_command string mkdir -p -m 700 /target/root/.ssh; "
            f"printf '{lines}\\n' >/target/root/.ssh/authorized_keys\n"
        )
    return _PRESEED.format(hostname=name, keys=keys)


def _autoinstall(rack: Rack, hostname: str | None) -> str:
    user: dict[str, object] = {"hostname": hostname} if hostname else {}
    user["ssh_authorized_keys"] = list(rack.ssh_authorized_keys)
    ssh = {"install-server": True, "allow-pw": False, "authorized-keys": list(rack.ssh_authorized_keys)}
    content = {"version": 1, "interactive-sections": ["storage"], "ssh": ssh, "user-data": user}
    return "#cloud-config\n" + _dump({"autoinstall": content})


def _dump(content: object) -> str:
    out = io.StringIO()
    yaml = YAML()
    yaml.width = 4096  # a wrapped SSH key is still one scalar, but nobody can compare it by eye
    yaml.dump(content, out)
    return out.getvalue()
