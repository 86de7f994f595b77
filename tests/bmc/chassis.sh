#!/bin/sh
# ipmi_sim calls this: DIR get power|boot, or DIR set power|reset|boot|shutdown VALUE. Files in DIR make it misbehave.
dir=$1
shift
echo "$*" >>"$dir/calls"
[ -e "$dir/slow" ] && [ "$1" = set ] && sleep "$(cat "$dir/slow")"
case "$1 $2" in
    "get power") echo "power:$(cat "$dir/power" 2>/dev/null || echo 0)" ;;
    "get boot") echo "boot:$(cat "$dir/boot" 2>/dev/null || echo none)" ;;
    "set power") [ -e "$dir/deaf" ] || echo "$3" >"$dir/power" ;;
    "set boot") echo "$3" >"$dir/boot" ;;
    "set shutdown") [ ! -e "$dir/obeys" ] || (sleep 1; echo 0 >"$dir/power") </dev/null >/dev/null 2>&1 & ;;
esac
