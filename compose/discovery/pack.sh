#!/bin/bash
# Packs /out/vmlinuz and /out/initrd. Sorted, with time 0 and no owner: the same packages give the same bytes.
set -euo pipefail
modules=$(echo /kernel/usr/lib/modules/* /kernel/lib/modules/*); modules=${modules##* }; [ -d "$modules" ] || modules=$(echo /kernel/usr/lib/modules/*)
version=$(basename "$modules")
root=/root/initramfs
mkdir -p $root/{bin,dev,proc,sys,etc/dropbear,tmp,root/.ssh,lib,var/run,run} "$root/lib/modules/$version" /out
chmod 700 $root/root $root/root/.ssh
cp /usr/bin/busybox $root/bin/busybox
for applet in $(busybox --list); do [ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"; done
ln -s bin $root/sbin
ln -s lib $root/lib64
# Programs that are not in busybox, with the libraries they ask for.
for program in dmidecode ipmitool dropbear; do
    file=$(command -v "$program")
    cp "$file" "$root/bin/$program"
    ldd "$file" | grep -oE '/[^ ]+' | while read -r library; do cp -Ln "$library" $root/lib/ || true; done
done
gcc -O2 -s -static -Wall -Werror -o $root/bin/lldp /build/lldp.c
# ipmitool looks up manufacturers there: without the file it says so at every call, and of an empty one it refuses to run.
mkdir -p $root/usr/share/misc
printf '0\n  Reserved\n    Internet Assigned Numbers Authority\n      iana&iana.org\n' >$root/usr/share/misc/enterprise-numbers.txt
echo 'root:x:0:0:root:/root:/bin/sh' >$root/etc/passwd
echo 'root:x:0:' >$root/etc/group
echo /bin/sh >$root/etc/shells
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
install -m 644 /build/config.sh /build/config.awk $root/bin/
install -m 755 /build/{udhcpc.script,inventory,send-inventory} $root/bin/
install -m 644 /build/json.awk $root/lib/json.awk
find $root -exec touch -hd @0 {} +
(cd $root && find . | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible -R 0:0) | gzip -9n >/out/initrd
cp /kernel/boot/vmlinuz-* /out/vmlinuz
chmod 644 /out/*
