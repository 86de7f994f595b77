#!/usr/bin/env bash
# Every test: two workers side by side (TEST_WORKERS says another number), then, with nothing beside them, those that
# measure seconds. Options go to pytest. Fails when either part does.
set -euo pipefail
cd "$(dirname "$0")/.."

said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT

# run PART OPTION...: its report goes through, its last line is kept.
run() {
    local part=$1 code=0
    shift
    pytest "$@" 2>&1 | tee "$said/$part" || code=$?
    # No test at all (5) is no fault where options select some.
    if [ "$code" = 5 ] && [ "$selected" = yes ]; then code=0; fi
    return "$code"
}

failed=0
selected=no
if [ "$#" -gt 0 ]; then selected=yes; fi
run parallel -m "not serial" -n "${TEST_WORKERS:-2}" "$@" || failed=1
run serial -m serial "$@" || failed=1
for part in parallel serial; do printf 'test: %-9s %s\n' "$part" "$(tail -n 1 "$said/$part" | tr -d =)"; done
exit "$failed"
