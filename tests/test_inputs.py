import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rackctl.adapters.fetch.githubkeys import fetch_keys
from rackctl.adapters.folder import RackFolder
from rackctl.core.lock import RackLock
from rackctl.core.model import Rack
from rackctl.errors import ConfigError, FetchError
from rackctl.inputs import pin_keys, read_inputs

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbSmC9NwvqUcRYVOYSbfY9PyqR9X6SjwMtbqTj0zkWW"
RACK = f"""\
server: {{address: 10.98.0.1}}
ssh_authorized_keys: [ops.pub, "github:octo", "{KEY} me"]
config: [a.yml, {{hostname: x}}]
groups: {{g: {{config: [b.yml.j2]}}}}
nodes: {{n1: {{mac: "52:54:00:00:00:01", config: [absent.yml]}}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> RackFolder:
    (tmp_path / "rack.yml").write_text(RACK)
    (tmp_path / "a.yml").write_text("a: 1\n")
    (tmp_path / "b.yml.j2").write_text("b: 1\n")
    (tmp_path / "ops.pub").write_text(f"# ours\n{KEY} ops\n\n")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").write_text("s3cret\n")
    (tmp_path / "secrets" / "token").chmod(0o600)
    return RackFolder(tmp_path)


@pytest.fixture
def github() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = {"/octo.keys": KEY, "/html.keys": "<html>", "/none.keys": ""}.get(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write((body or "").encode())

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_what_rack_yml_names_is_read(folder: RackFolder) -> None:
    lock = RackLock(ssh_keys={"github:octo": (f"{KEY} octo",)})
    found = read_inputs(folder, folder.read_rack(), lock)
    assert found.texts == {"a.yml": "a: 1\n", "b.yml.j2": "b: 1\n"}
    assert found.keys == {"github:octo": (f"{KEY} octo",), "ops.pub": (f"{KEY} ops",)}
    assert found.secret("token") == "s3cret"
    assert found.rack_text == RACK


def test_a_secret_that_all_may_read_and_a_path_are_refused(folder: RackFolder) -> None:
    found = read_inputs(folder, folder.read_rack(), RackLock())
    with pytest.raises(ConfigError, match="no secret"):
        found.secret("../rack.yml")
    (folder.path / "secrets" / "token").chmod(0o644)
    with pytest.raises(ConfigError, match="read by everybody"):
        found.secret("token")
    assert "s3cret" not in repr(found)


def test_a_source_that_is_no_text_is_named(folder: RackFolder) -> None:
    (folder.path / "a.yml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError) as caught:
        read_inputs(folder, folder.read_rack(), RackLock())
    assert caught.value.where.endswith("a.yml")


def test_github_keys_are_fetched_once_and_pinned(folder: RackFolder, github: str) -> None:
    rack: Rack = folder.read_rack()
    told: list[str] = []
    lock = pin_keys(rack, RackLock(), told.append, lambda user: fetch_keys(user, github))
    assert lock.ssh_keys == {"github:octo": (f"{KEY} octo@github",)}
    assert told == ["github:octo: 1 SSH keys, pinned in rack.lock"]

    def never(user: str) -> tuple[str, ...]:
        raise AssertionError(user)

    assert pin_keys(rack, lock, told.append, never) == lock
    assert pin_keys(rack, lock, told.append, lambda user: (f"{KEY} new",), update=True).ssh_keys["github:octo"] == (
        f"{KEY} new",
    )


@pytest.mark.parametrize("user", ["nobody", "html", "none"])
def test_an_answer_without_keys_is_an_error(github: str, user: str) -> None:
    with pytest.raises(FetchError):
        fetch_keys(user, github)
