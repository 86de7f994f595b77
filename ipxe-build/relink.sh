#!/bin/bash
# Builds the targets (such as bin/undionly.kpxe) with /script.ipxe embedded, by the commands that record.sh wrote down.
set -euo pipefail

side_by_side() {
    local commands job jobs=()
    for commands in "$@"; do
        bash -e "/links/$commands" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job"; done
}

mapfile -t platforms < <(dirname "$@" | sort -u)
side_by_side "${platforms[@]}"
side_by_side "${@//\//.}"
