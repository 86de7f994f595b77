#!/bin/bash
# Builds the targets (such as bin/undionly.kpxe) with /script.ipxe embedded, from objects that are there already.
# make is entered below iPXE's top level, once a platform, and is told that its dependency files are up to date: else it
# reads its thousands of rules three times over, which takes longer than all the linking.
set -euo pipefail
jobs=()
for bin in $(dirname "$@" | sort -u); do
    # make knows by this list which script it embedded last: written now, it is newer than embedded.o.
    echo /script.ipxe >"$bin/.embedded.list"
    touch "$bin/deps/image/embedded.c.d"
    mapfile -t mine < <(printf '%s\n' "$@" | grep "^$bin/")
    make -j2 "BIN=$bin" EMBED=/script.ipxe "${mine[@]}" &
    jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done
