# dnsmasq in the foreground as nobody, its stderr turned into JSON lines with a microsecond clock: dnsmasq's own file log
# has whole seconds and no year, which is too coarse for a boot of ten seconds.
# Ports 67 and 69 are privileged: that capability (and CAPS, more of them) is handed on as ambient, every other is dropped
# before dnsmasq starts.
CAPS=${CAPS:-}
LOG=/logs/tftp.jsonl
export LOG LOG_BYTES=${LOG_BYTES:-33554432} LOG_PARTS=${LOG_PARTS:-3}
write_log() {
    local line n size=0
    [ ! -s "$LOG" ] || size=$(wc -c <"$LOG")
    # A line that a crash tore would swallow the next one.
    [ ! -s "$LOG" ] || [ -z "$(tail -c 1 "$LOG")" ] || echo >>"$LOG"
    while IFS= read -r line; do
        line=${line//[[:cntrl:]]/?}; line=${line//\\/\\\\}; line=${line//\"/\\\"}
        printf -v line '{"t":%s,"line":"%s"}' "$EPOCHREALTIME" "${line:0:2000}"
        printf '%s\n' "$line" >>"$LOG"
        # docker logs gets what is not a plain success: the engine spends as much time on a line as dnsmasq on a file.
        [[ $line == *']: sent '* ]] || printf '%s\n' "$line" >&2
        size=$((size + ${#line} + 1))
        ((size < LOG_BYTES)) && continue
        for ((n = LOG_PARTS; n > 1; n--)); do [ ! -e "$LOG.$((n - 1))" ] || mv -f "$LOG.$((n - 1))" "$LOG.$n"; done
        mv -f "$LOG" "$LOG.1"
        size=0
    done
}
export -f write_log
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps -all,+net_bind_service"$CAPS" \
    --ambient-caps -all,+net_bind_service"$CAPS" --bounding-set -all,+net_bind_service"$CAPS" \
    bash -c 'exec dnsmasq -k -C /srv/current/dnsmasq.conf --port=0 --pid-file= --log-facility=- --enable-tftp \
        --tftp-root=/srv/current/tftp --tftp-max=1000 "$@" 2> >(write_log)' tftp "$@"
