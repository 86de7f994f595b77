"""A machine applies the config that rackctl rendered for it, and joins a control plane that nobody else can join."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from boot.conftest import ADDRESS, Rig
from boot.control_plane import serve_control_plane

pytestmark = [pytest.mark.boot, pytest.mark.engine]

PORT = 16443
MAC = "52:54:00:00:66:01"
TOKEN = "K10" + "0123456789abcdef" * 4 + "::node:canary-token"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbSmC9NwvqUcRYVOYSbfY9PyqR9X6SjwMtbqTj0zkWW ops@rack"
RACK = f"""\
    ssh_authorized_keys: ["{KEY}"]
    unknown: discover
    hostnames: {{pattern: "node-{{mac[-6:]}}"}}
    join: {{kind: k3s, server: "http://{ADDRESS}:{PORT}", token: k3s-token}}
    config:
    - write_files:
      - {{path: /etc/motd, content: "two\\n  lines\\n"}}
    nodes:
      joiner: {{mac: "{MAC}", os: {{name: discovery}}}}
"""


@pytest.fixture
def control_plane() -> Iterator[list[dict[str, str]]]:
    with serve_control_plane(ADDRESS, PORT, TOKEN) as asked:
        yield asked


def check_in(rig: Rig, mac: str) -> dict[str, str]:
    """The query of the last check-in that tells what the machine applied: that of the join comes at any time after."""
    found: dict[str, str] = {}
    whole = (rig.folder / ".rackctl" / "logs" / "http.jsonl").read_text().rpartition("\n")[0]
    for line in whole.splitlines():
        url = urlsplit(json.loads(line)["uri"])
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/checkin" and query.get("mac") == mac and "state" not in query:
            found = query
    return found


def digest(*contents: str) -> str:
    return hashlib.sha256("".join(contents).encode()).hexdigest()[:12]


def test_a_node_applies_its_config_and_joins_and_an_unknown_machine_does_neither(
    rig: Rig, control_plane: list[dict[str, str]]
) -> None:
    secret = rig.folder / "secrets" / "k3s-token"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text(TOKEN + "\n")
    secret.chmod(0o600)
    rig.write(RACK)
    rig.run("up")

    rig.boot("joiner")
    told = check_in(rig, MAC)
    env = f"JOIN_KIND=k3s\nJOIN_SERVER=http://{ADDRESS}:{PORT}\nJOIN_NAME=joiner\n"
    assert told["hostname"] == "joiner"
    assert told["keys"] == f"1-{digest(KEY + chr(10))}"
    assert told["files"] == f"4-{digest('two', chr(10), '  lines', chr(10), 'joiner', chr(10), TOKEN, chr(10), env)}"
    assert told["join"] == "k3s-ok"
    assert control_plane == [{"path": "/v1-k3s/config", "pair": "node:canary-token", "node": "joiner"}]

    unknown = str(rig.boot()["mac"])
    told = check_in(rig, unknown)
    assert told["hostname"] == f"node-{unknown.replace(':', '')[-6:]}"
    assert told["keys"] == f"1-{digest(KEY + chr(10))}"
    assert "join" not in told
    assert len(control_plane) == 1

    own = {f"config/{MAC.replace(':', '-')}"}
    holders = {str(file.relative_to(rig.served / "http")) for file in (rig.served / "http").rglob("*") if has(file)}
    assert holders == own
    assert "canary-token" not in (rig.folder / ".rackctl" / "logs" / "http.jsonl").read_text()


def has(file: Path) -> bool:
    return file.is_file() and b"canary-token" in file.read_bytes()
