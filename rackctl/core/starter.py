"""Core. The commented rack.yml that `rackctl init` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_STARTER = """\
# One rack: the machines to boot and what they boot. `rackctl lint` checks this file, `rackctl up` serves it.
server:
  address: {address}    # this machine, as the nodes see it
  http_port: {port}
  network: host         # of the tftp container: host (port 69 is fixed in ROMs), or bridge

# What a machine boots unless its node says otherwise: discovery (Debian in RAM, touches no disk) or rancheros.
os: {{name: discovery}}
# os: {{name: rancheros, version: v1.5.8}}

ssh_authorized_keys:{keys}

# The machines by name. One that is not here boots the OS above, with no name.
nodes: {{}}
#  node1: {{mac: "52:54:00:12:34:56"}}
"""


def render_starter(address: str, http_port: int, ssh_keys: Sequence[str]) -> str:
    """A rack.yml that `parse_rack` takes as it is."""
    keys = "".join(f"\n  - {_scalar(key)}" for key in ssh_keys) or " []"
    return _STARTER.format(address=address, port=http_port, keys=keys)


def _scalar(key: str) -> str:
    # A key's comment is free text: ": " or " #" in it would end the YAML scalar. A JSON string is one in YAML too.
    return key if re.fullmatch(r"[\w@.+/=-]+( [\w@.+/=-]+)*", key) else json.dumps(key)
