# make.sh ID: /files becomes /stick.img. The same files and ID (32 hex digits) give the same bytes.
set -euo pipefail
export TZ=UTC SOURCE_DATE_EPOCH=1772755200   # of iPXE v2.0.0; mtools and mkfs.vfat take their times from it
id=$1
uuid() { echo "${1:0:8}-${1:8:4}-4${1:13:3}-8${1:17:3}-${1:20:12}"; }

start=2048 sectors=77824   # 38 MiB: FAT32 needs 65525 clusters, and Apple's firmware is only known to read FAT32
truncate -s 40M /stick.img
sfdisk -q /stick.img <<END
label: gpt
label-id: $(uuid "$id")
start=$start, size=$sectors, type=U, uuid=$(uuid "$(rev <<<"$id")"), name=rackctl
END
mkfs.vfat --invariant -F 32 -s 1 -i "${id:0:8}" -n RACKCTL --offset "$start" /stick.img $((sectors / 2)) >/dev/null
find /files -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
cd /files
find . -mindepth 1 -type d | LC_ALL=C sort | while read -r one; do mmd -i /stick.img@@1M "::${one#.}"; done
find . -type f | LC_ALL=C sort | while read -r one; do mcopy -m -i /stick.img@@1M "$one" "::${one#.}"; done
dd if=/stick.img of=/check.img bs=512 skip="$start" count="$sectors" status=none
fsck.vfat -n /check.img
rm /check.img
