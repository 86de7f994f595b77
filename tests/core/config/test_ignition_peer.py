"""What is rendered for Flatcar and Fedora CoreOS, read by Ignition's own validator."""

import json

import peers
import pytest

from rackctl.core.config.sources import Inputs
from rackctl.core.load import parse_rack
from rackctl.core.render import render_rack

pytestmark = pytest.mark.engine

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@here"
RACK = f"""\
server: {{address: 10.98.0.1}}
os: {{name: flatcar, version: 4081.2.0}}
ssh_authorized_keys: [{KEY}]
join: {{kind: k3s, server: "https://10.98.0.9:6443", token: k3s-token, version: v1.31.4+k3s1}}
config: [site.yml, disks.bu]
nodes:
  n1: {{mac: "52:54:00:12:34:56"}}
  n2: {{mac: "52:54:00:12:34:57", os: {{name: fedora-coreos, version: 43.20260101.3.0}}}}
"""
SITE = """\
#cloud-config
write_files:
- path: /etc/motd
  permissions: '0644'
  content: |
    hello
"""
DISKS = """\
variant: flatcar
version: 1.0.0
storage:
  directories:
  - path: /srv/data
    mode: 0755
  files:
  - path: /etc/issue.d/rack
    mode: 0644
    contents: {inline: "rack one\\n"}
systemd:
  units:
  - name: hello.service
    enabled: true
    contents: |
      [Service]
      ExecStart=/bin/true
      [Install]
      WantedBy=multi-user.target
"""


@pytest.mark.parametrize("mac", ["52-54-00-12-34-56", "52-54-00-12-34-57"])
def test_ignition_validates_what_is_served(mac: str) -> None:
    texts = Inputs({"site.yml": SITE, "disks.bu": DISKS}, {"k3s-token": "K10aa::server:bb"}, {}, RACK)
    tree = render_rack(parse_rack(RACK), {}, {}, "p", {"tftp": "t:0", "microhttp": "m:0"}, inputs=texts)
    served = tree.files[f"http/config/{mac}"].decode()
    assert {"/etc/motd", "/etc/issue.d/rack", "/etc/hostname"} <= {
        f["path"] for f in json.loads(served)["storage"]["files"]
    }
    peers.check("ignition", served)


def test_the_validator_refuses_what_is_wrong() -> None:
    with pytest.raises(AssertionError, match="path not absolute"):
        peers.check("ignition", '{"ignition":{"version":"3.3.0"},"storage":{"files":[{"path":"relative"}]}}')
