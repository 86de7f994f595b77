import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackctl.core.config.hostname import render_hostname_script
from rackctl.core.configmodel import Hostnames, fill_pattern

MAC = "52:54:00:12:ab:56"


def run(script: str, folder: Path, bootif: str) -> dict[str, str]:
    """Runs the script in a real sh, with the files and commands of a machine that stands in a folder."""
    (folder / "cmdline").write_text(f"console=tty0 BOOTIF=01-{bootif} quiet\n")
    (folder / "hosts").write_text("127.0.0.1 localhost\n127.0.1.1 old\n")
    binaries = folder / "bin"
    binaries.mkdir(exist_ok=True)
    for name in ("hostname", "ros"):
        (binaries / name).write_text(f'#!/bin/sh\necho "$@" >>{folder}/{name}.called\n')
        (binaries / name).chmod(0o755)
    text = script.replace("/proc/cmdline", f"{folder}/cmdline").replace("/etc/", f"{folder}/")
    subprocess.run(["sh", "-c", text], check=True, env={"PATH": f"{binaries}:/usr/bin:/bin"})
    return {file.name: file.read_text() for file in folder.iterdir() if file.is_file()}


@pytest.mark.parametrize(
    ("bootif", "name"),
    [("52-54-00-12-ab-56", "node-12ab56"), ("52-54-00-00-00-01", "spare1"), ("52-54-00-12-AB-56", "node-12ab56")],
)
def test_a_machine_is_named_by_table_else_by_pattern(tmp_path: Path, bootif: str, name: str) -> None:
    names = Hostnames(pattern="node-{mac[-6:]}", table={"52:54:00:00:00:01": "spare1"})
    files = run(render_hostname_script(names), tmp_path, bootif)
    assert files["hostname.called"] == f"{name}\n"
    assert files["ros.called"] == f"config set hostname {name}\n"
    assert files["hostname"] == f"{name}\n"
    assert files["hosts"] == f"127.0.0.1 localhost\n127.0.1.1\t{name}\n"


def test_without_a_pattern_others_keep_their_name(tmp_path: Path) -> None:
    script = render_hostname_script(Hostnames(table={"52:54:00:00:00:01": "spare1"}))
    assert "hostname.called" not in run(script, tmp_path, "52-54-00-12-ab-56")


def test_no_section_no_script() -> None:
    assert render_hostname_script(Hostnames()) == ""


@settings(max_examples=30)
@given(st.integers(-12, 12) | st.none(), st.integers(-12, 12) | st.none())
def test_the_shell_cuts_as_the_pattern_says(start: int | None, end: int | None) -> None:
    pattern = f"n{{mac[{'' if start is None else start}:{'' if end is None else end}]}}x"
    script = render_hostname_script(Hostnames(pattern=pattern))
    cut = script.split("*) name=")[1].split(" ;;")[0]
    done = subprocess.run(
        ["sh", "-c", f"digits={MAC.replace(':', '')}; echo {cut}"], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == fill_pattern(pattern, MAC)


@pytest.mark.parametrize("pattern", ["node_{mac}", "{hostname}", "n{mac[a:]}", "{mac}-", "N{mac}"])
def test_a_pattern_that_gives_no_host_name_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"host name|pattern"):
        Hostnames(pattern=pattern)
