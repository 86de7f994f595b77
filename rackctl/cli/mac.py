"""CLI. mac: what Intel Macs need to netboot into iPXE."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from rackctl.cli.app import JsonOption, app
from rackctl.cli.out import say

mac = typer.Typer(no_args_is_help=True, help="Intel Macs: netboot by BSDP, bless, and a stick.")
app.add_typer(mac, name="mac")


@mac.command()
def decode(
    rows: Annotated[list[str], typer.Argument(help="Bytes of option 43, or lines around them; - reads stdin.")],
    as_json: JsonOption = False,
) -> None:
    """Explain the BSDP bytes of any DHCP configuration, log or capture.

    Example: rackctl mac decode 01:01:02:08:04:81:00:05:2a
    """
    from dataclasses import asdict

    from rackctl.core.bsdp import parse_rows
    from rackctl.core.bsdp_explain import explain

    text = sys.stdin.read() if rows == ["-"] else "\n".join(rows)
    found = [explain(raw) for raw in parse_rows(text)]
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], ensure_ascii=False))
        return
    for one in found:
        say(one.kind)
        for row in one.rows:
            say(f"  {row.name:<18} {row.says}\n    {row.bytes}")
        for remark in one.remarks:
            say(f"  ! {remark}")


from rackctl.cli import macbless, macstick  # noqa: E402, F401 their commands register themselves on `mac`
