#!/bin/bash
# sign.sh LOADER...: makes a key, signs the loaders of /work in place, and writes /work/vars.fd: the variables of a firmware
# that starts what this key signed and nothing else.
set -euo pipefail
cd /work
openssl req -quiet -newkey rsa:2048 -nodes -x509 -days 365 -subj '/CN=Secure Boot test/' -keyout /tmp/key -out /tmp/cert
for one in "$@"; do sbsign --key /tmp/key --cert /tmp/cert --output "$one" "$one"; done
owner=$(cat /proc/sys/kernel/random/uuid)
virt-fw-vars --input /usr/share/OVMF/OVMF_VARS_4M.fd --output vars.fd --secure-boot \
    --set-pk "$owner" /tmp/cert --add-kek "$owner" /tmp/cert --add-db "$owner" /tmp/cert
