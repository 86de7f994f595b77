"""The wheel works away from the checkout: what lies beside the code comes with it, and the bytes are the same."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow

# The tree of the rack in this folder, and the tags of the images: equal where the files are equal.
RENDER = """
from pathlib import Path
from rackctl.adapters.folder import RackFolder
from rackctl.adapters.imagebuild import image_tag
from rackctl.core.render import render_embed, render_rack
from rackctl.assets import find_asset
folder = RackFolder(Path())
rack = folder.read_rack()
images = {name: image_tag(name) for name in ("tftp", "microhttp")}
tree = render_rack(rack, {}, {"ipxe.efi": "e" * 64}, "rackctl-test", images, folder.catalog())
print(tree.id, images, image_tag("lab"), render_embed(rack))
"""


def run(*words: str | Path, cwd: Path, **env: str) -> str:
    # The user's own settings of Python and rackctl must not lead back to the checkout.
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "RACKCTL", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env={**clean, **env}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, ROOT, cwd=out)
    [file] = out.glob("rackctl-*.whl")
    return file


@pytest.fixture(scope="module")
def python(wheel: Path) -> Path:
    """Of a virtual environment in which only the wheel and what it depends on are installed."""
    folder = wheel.parent / "venv"
    run(sys.executable, "-m", "venv", folder, cwd=wheel.parent)
    run(folder / "bin" / "python", "-m", "pip", "install", "-q", wheel, cwd=wheel.parent)
    return folder / "bin" / "python"


def test_the_wheel_holds_everything_that_the_checkout_has(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist()}
    for folder, place in (
        ("compose", "rackctl/_assets/"),
        ("ipxe-build", "rackctl/_assets/"),
        ("www", "rackctl/_assets/"),
        ("rackctl", ""),
    ):
        files = [f for f in (ROOT / folder).rglob("*") if f.is_file() and "__pycache__" not in f.parts]
        assert files
        assert not [f for f in files if place + str(f.relative_to(ROOT)) not in inside]
    assert not [name for name in inside if name.startswith(("tests/", "bench/", "scripts/"))]


def test_a_rack_away_from_the_checkout(python: Path, tmp_path: Path) -> None:
    rackctl = python.parent / "rackctl"
    assert "next: rackctl up" in run(rackctl, "init", "myrack", "--server", "127.0.0.1", cwd=tmp_path)
    rack = tmp_path / "myrack"
    assert "no faults" in run(rackctl, "lint", cwd=rack)
    assert "rancheros" in run(rackctl, "os", "list", cwd=rack)
    assert "127.0.0.1" in run(rackctl, "dhcp", "show", "--for", "openwrt", cwd=rack)
    assert "Usage: rackctl" in run(rackctl, "--help", cwd=rack)
    there = run(python, "-c", "from rackctl.assets import find_asset; print(find_asset('www'))", cwd=rack)
    assert "site-packages" in there
    assert run(python, "-c", RENDER, cwd=rack) == run(sys.executable, "-c", RENDER, cwd=rack)


def test_pipx_installs_the_wheel(wheel: Path, tmp_path: Path) -> None:
    pipx = Path(sys.executable).with_name("pipx")
    places = {
        "PIPX_HOME": str(tmp_path / "pipx"),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "PIPX_MAN_DIR": str(tmp_path / "man"),
    }
    run(pipx, "install", wheel, cwd=tmp_path, **places)
    run(tmp_path / "bin" / "rackctl", "init", "myrack", "--server", "127.0.0.1", cwd=tmp_path)
    assert "no faults" in run(tmp_path / "bin" / "rackctl", "lint", cwd=tmp_path / "myrack")
