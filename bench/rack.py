"""The running rack that a benchmark measures: its folder, its address and what it serves."""

import json
import subprocess
import sys
from pathlib import Path

from common import RACKCTL

from rackctl.adapters.folder import RackFolder


def running_rack(argv: list[str]) -> RackFolder:
    """The folder named first on the command line. It must be up."""
    if not argv:
        raise SystemExit(f"{sys.argv[0]}: name the folder of a rack that is up (make bench RACK=DIR)")
    folder = RackFolder(Path(argv[0]))
    rows = json.loads(
        subprocess.run([RACKCTL, "status", "--json", "--rack", argv[0]], capture_output=True, check=True).stdout
    )
    if not {"tftp", "microhttp"} <= {row["service"] for row in rows["services"] if row["state"] == "running"}:
        raise SystemExit(f"{argv[0]}: tftp and microhttp do not run: rackctl up")
    return folder
