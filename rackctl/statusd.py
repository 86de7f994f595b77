"""The `status` container: follows the logs and keeps the status page's files up to date, once a second.

python3 -m rackctl.statusd WORK CURRENT: WORK holds logs/, inventory/, state/ and status/; CURRENT is the served tree,
whose status/known.json says what rack.yml knows. Needs the standard library alone.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rackctl.follow import Follower, read_known

TICK = 1.0


def main(work: Path, current: Path) -> None:
    """For ever; a change of rack.yml is seen when the tree changes."""
    follower = Follower(work, read_known(current))
    tree, told = current.resolve(), ""
    while True:
        if current.resolve() != tree:
            tree = current.resolve()
            follower.known = read_known(current)
            follower.fold.known = frozenset(follower.known.names)
        now = time.time()
        events = follower.read(now)
        try:
            follower.write(now, events)
            told = ""
        except OSError as wrong:  # a full disk: it may have room again later
            if told != str(wrong):
                told = str(wrong)
                print(f"the status page is not brought up to date: {told}", file=sys.stderr, flush=True)
        time.sleep(TICK)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
