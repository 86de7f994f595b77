#!/usr/bin/env bash
# Every test: two workers side by side (TEST_WORKERS says another number), then, with nothing beside them, those that
# measure seconds. Options go to pytest. Fails when either part does.
set -euo pipefail
cd "$(dirname "$0")/.."

# One at a time on a machine: the virtual racks of both would have the same addresses. It lasts as long as this script and
# pytest, also when they are killed.
lock=/tmp/rackctl-tests.lock
[ -e "$lock" ] || (umask 0 && : >>"$lock")
exec 9<"$lock"
if ! flock -n 9; then
    echo "test: the tests of another folder run on this machine; waiting until they end"
    flock 9
fi
bash scripts/test-leftovers.sh 9<&-

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

# iPXE's objects take minutes of all cores when they are compiled first: beside virtual machines, those would starve.
if [ "$#" -eq 0 ] && [ -d ~/.cache/rackctl/ipxe ]; then
    rackctl init "$said/rack" --server 127.0.0.1 >"$said/init"
    rackctl build-ipxe --rack "$said/rack" --target all || echo "test: iPXE could not be built beforehand; the tests will tell"
fi

failed=0
selected=no
if [ "$#" -gt 0 ]; then selected=yes; fi
run parallel -m "not serial" -n "${TEST_WORKERS:-2}" "$@" || failed=1
run serial -m serial "$@" || failed=1
for part in parallel serial; do printf 'test: %-9s %s\n' "$part" "$(tail -n 1 "$said/$part" | tr -d =)"; done
exit "$failed"
