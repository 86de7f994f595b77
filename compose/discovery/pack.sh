#!/bin/bash
# Packs /out/vmlinuz and /out/initrd. Sorted, with time 0 and no owner: the same packages give the same bytes.
set -euo pipefail
modules=$(echo /kernel/usr/lib/modules/* /kernel/lib/modules/*); modules=${modules##* }; [ -d "$modules" ] || modules=$(echo /kernel/usr/lib/modules/*)
version=$(basename "$modules")
root=/root/initramfs
mkdir -p $root/{bin,dev,proc,sys,etc,tmp} "$root/lib/modules/$version" /out
cp /usr/bin/busybox $root/bin/busybox
for applet in $(busybox --list); do [ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"; done
ln -s bin $root/sbin
base=${modules%/lib/modules/*}
depmod -b "$base" "$version"
while read -r name; do
    modprobe -d "$base" -S "$version" --show-depends "$name" | awk '$1=="insmod"{print $2}'
done </build/modules.txt | sort -u | while read -r file; do
    target=$root/lib/modules/$version/$(basename "$file")
    cp "$file" "$target"; case $target in *.xz) xz -d "$target" ;; esac
done
cp "$modules"/modules.{order,builtin,builtin.modinfo} "$root/lib/modules/$version/" 2>/dev/null || true
depmod -b $root "$version"
install -m 755 /build/init $root/init
install -m 755 /build/udhcpc.script $root/bin/udhcpc.script
install -m 644 /build/config.sh /build/config.awk $root/bin/
find $root -exec touch -hd @0 {} +
(cd $root && find . | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible -R 0:0) | gzip -9n >/out/initrd
cp /kernel/boot/vmlinuz-* /out/vmlinuz
chmod 644 /out/*
