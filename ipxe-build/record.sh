#!/bin/bash
# Writes to /links the commands that make would run for each target (such as bin/undionly.kpxe) once /script.ipxe has
# changed. relink.sh runs them: make itself takes seconds to read its thousands of rules, the linking a fraction of one.
set -euo pipefail
mkdir -p /links
touch /script.ipxe

for target in "$@"; do
    bin=${target%%/*}
    # make knows by this list which script it embedded last: written now, it is newer than embedded.o. The file of
    # dependencies is newer still, or make would first want to write it again.
    echo /script.ipxe >"$bin/.embedded.list"
    touch "$bin/deps/image/embedded.c.d"
    make -n "BIN=$bin" EMBED=/script.ipxe "$bin/embedded.o" >"/links/$bin"
    # The archive takes the new object in place of the old one; the rest of it stays as make wrote it.
    [[ $bin == bin-arm64-* ]] && cross=$CROSS_COMPILE_arm64 || cross=
    echo "${cross}ar rD $bin/blib.a $bin/embedded.o" >>"/links/$bin"
    rm -f "$target" "$target.tmp"
    # The build id tells builds apart, so it is counted from what is linked. Maps of symbols are for debugging alone.
    make -n -o "$bin/blib.a" "BIN=$bin" EMBED=/script.ipxe BUILD_ID_CMD="echo '\$\$(cksum <$bin/blib.a | cut -d\" \" -f1)'" "$target" |
        sed '/^[a-z0-9-]*objdump .*sortobjdump/d' >"/links/${target//\//.}"
done
