"""Systems that the discovery OS plays: what is proven is what reaches a machine, not what the system makes of it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fake_github import GitHub, sha

from boot.conftest import Rig

RANCHEROS, TALOS = "{name: rancheros, version: v1.5.8}", "{name: talos, version: v1.9.1}"


@contextmanager
def played(rig: Rig) -> Iterator[dict[str, str]]:
    """The environment in which `rackctl up` fetches the discovery OS' files in the place of RANCHEROS and TALOS."""
    # A lock of another test's v1.5.8, which holds noise, would win over what is played.
    (rig.folder / "rack.lock").unlink(missing_ok=True)
    artifacts: dict[str, Any] = json.loads(rig.run("fetch", "discovery", "--json").stdout)[0]["artifacts"]
    kernel, initrd = (Path(artifacts[name]["path"]).read_bytes() for name in ("vmlinuz", "initrd"))
    with GitHub() as hub:
        _serve(hub, "v1.5.8", "checksums.txt", "sha256: ", {"vmlinuz": kernel, "initrd": initrd})
        _serve(hub, "v1.9.1", "sha256sum.txt", "", {"vmlinuz-amd64": kernel, "initramfs-amd64.xz": initrd})
        threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield {"RACKCTL_GITHUB_URL": f"{hub.url}/dl", "RACKCTL_GITHUB_API": hub.url, "NO_PROXY": "127.0.0.1"}
        finally:
            hub.shutdown()


def _serve(hub: GitHub, tag: str, sums: str, head: str, files: dict[str, bytes]) -> None:
    hub.files |= {f"{tag}/{name}": body for name, body in files.items()}
    hub.files[f"{tag}/{sums}"] = "".join(f"{head}{sha(body)}  {name}\n" for name, body in files.items()).encode()
