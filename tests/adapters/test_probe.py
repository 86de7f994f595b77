"""What `up` reads back: another byte, another length, an absent file or an empty port is never taken for served."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rackctl.adapters import probe
from rackctl.core.tree import Tree
from rackctl.errors import ServeError

WHOLE = {"boot/default.ipxe": b"#!ipxe\n", "os/x/vmlinuz": b"k" * 100_000}
TREE = Tree({f"http/{name}": content for name, content in WHOLE.items()} | {"compose.yml": b"not served"})


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[int]:
    """An HTTP server with these files; yields its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_args: object) -> None:
            pass

        def do_GET(self) -> None:
            found = b"ok" if self.path == "/healthz" else files.get(self.path[1:])
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_tree_that_is_served_whole_is_proven() -> None:
    with serving(WHOLE) as port:
        probe.prove_tree("127.0.0.1", port, TREE)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"k" * 99_999 + b"j", "what came has sha256"),
        (b"k" * 99_999, "what came has sha256"),
        (None, "HTTP status 404"),
    ],
    ids=["another byte", "a byte less", "absent"],
)
def test_what_is_not_what_was_published_is_named(content: bytes | None, says: str) -> None:
    files = {**WHOLE, "os/x/vmlinuz": content} if content else {"boot/default.ipxe": b"#!ipxe\n"}
    with serving(files) as port, pytest.raises(ServeError, match=says) as caught:
        probe.prove_tree("127.0.0.1", port, TREE)
    assert caught.value.where == f"http://127.0.0.1:{port}/os/x/vmlinuz" and caught.value.remedy


def test_a_loader_that_tftp_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "read_tftp", lambda _address, _name, tries: b"another loader")
    tree = Tree({**TREE.files, "tftp/ipxe.efi": b"loader"})
    with serving(WHOLE) as port, pytest.raises(ServeError, match="what came has sha256") as caught:
        probe.prove_tree("127.0.0.1", port, tree)
    assert caught.value.where == "tftp://127.0.0.1/ipxe.efi"


def test_nobody_there_is_told_after_the_limit() -> None:
    with serving({}) as port:
        pass
    with pytest.raises(ServeError, match="no answer") as caught:
        probe.prove_tree("127.0.0.1", port, TREE, limit=0.2)
    assert "firewall" in caught.value.remedy
