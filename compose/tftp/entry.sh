# dnsmasq in the foreground as nobody, its stderr turned into JSON lines with a microsecond clock: dnsmasq's own file log
# has whole seconds and no year, which is too coarse for a boot of ten seconds.
# Port 69 is privileged: the one capability is handed on as ambient, everything else is dropped before dnsmasq starts.
write_log() {
    while IFS= read -r line; do
        line=${line//[[:cntrl:]]/?}; line=${line//\\/\\\\}; line=${line//\"/\\\"}
        printf '{"t":%s,"line":"%s"}\n' "$EPOCHREALTIME" "$line" >>/logs/tftp.jsonl
        printf '%s\n' "$line" >&2
    done
}
export -f write_log
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps -all,+net_bind_service \
    --ambient-caps -all,+net_bind_service --bounding-set -all,+net_bind_service \
    bash -c 'exec dnsmasq -k -C /dev/null --port=0 --pid-file= --log-facility=- --enable-tftp \
        --tftp-root=/srv/current/tftp --tftp-max=1000 "$@" 2> >(write_log)' tftp "$@"
