"""Private memory of tftp and microhttp together, as `rackctl status` has it.

python bench/memory.py RACK    RACK is up and idle
"""

import json
import subprocess
import sys

from common import RACKCTL, verdict
from rack import running_rack


def main() -> int:
    folder = running_rack(sys.argv[1:])
    out = subprocess.run(
        [RACKCTL, "status", "--json", "--rack", str(folder.path)], capture_output=True, check=True
    ).stdout
    rows = json.loads(out)["memory"]
    for service in ("tftp", "microhttp"):
        print(f"{service:<10} {rows[service] / 2**20:.2f} MiB private")
    return verdict("tftp and microhttp", (rows["tftp"] + rows["microhttp"]) / 2**20, 8.0, " MiB")


sys.exit(main())
