#!/bin/bash
# The short benchmarks, one after the other. RACK is the folder of a rack that is up; without it, those that need one are
# named and left out. Ends with 1 when a limit was missed.
set -uo pipefail
cd "$(dirname "$0")/.."
missed=0
run() { echo "== $*"; python "bench/$1" "${@:2}" || missed=1; }
run help_time.py
run new_script.py 3
run fold.py
if [ -n "${RACK:-}" ]; then
    run memory.py "$RACK"
    run second_up.py "$RACK"
    run http_bulk.py "$RACK"
    run tftp_bulk.py "$RACK"
else
    echo "== left out, for want of a rack that is up (make bench RACK=DIR): memory second_up http_bulk tftp_bulk"
fi
exit "$missed"
