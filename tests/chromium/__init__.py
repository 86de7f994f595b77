"""Headless Chromium in a container: a page's DOM after its scripts ran, or a picture of it."""

import hashlib
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent


def image() -> str:
    """Tag of the browser's image, built when it is not there."""
    tag = f"rackctl/test-chromium:{hashlib.sha256((FOLDER / 'Dockerfile').read_bytes()).hexdigest()[:16]}"
    if not subprocess.run(["docker", "image", "ls", "-q", tag], capture_output=True, check=True).stdout:
        subprocess.run(["docker", "build", "-q", "-t", tag, str(FOLDER)], check=True, capture_output=True, timeout=900)
    return tag


def browse(url: str, *options: str, mount: Path | None = None, after: float = 3) -> str:
    """Load the page, let it run for `after` seconds of its own time, and give what the options ask for."""
    volumes = ["-v", f"{mount}:/out"] if mount else []
    words = ["docker", "run", "--rm", "--network", "host", "--shm-size", "512m", "--label", "org.rackctl.role=test",
             *volumes, image(), "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--enable-logging=stderr", f"--virtual-time-budget={int(after * 1000)}", *options, url]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not said, said
    return done.stdout
