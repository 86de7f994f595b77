#!/bin/bash
# Puts the rack's patches and its headers of config/local into the source, once, and builds the targets again where they or
# the certificates in TRUST make a difference.
set -euo pipefail
shopt -s nullglob
for one in /options/patches/*; do
    patch -d /ipxe -p1 --forward --batch <"$one" || { echo "the patch ${one##*/} does not apply"; exit 1; }
done
for one in /options/local/*.h; do cp "$one" config/local/; done
rm -rf /options
make -j"$(nproc)" EMBED=/placeholder.ipxe "$@"
touch -r Makefile config/named.h include/assert.h include/compiler.h include/ipxe/profile.h bin*/.*.list
