# dnsmasq in the foreground as nobody, its stderr turned into JSON lines by log.pl: dnsmasq's own file log
# has whole seconds and no year, which is too coarse for a boot of ten seconds.
# Ports 67 and 69 are privileged: that capability (and CAPS, more of them) is handed on as ambient, every other is dropped
# before dnsmasq starts.
CAPS=${CAPS:-}
LOG=/logs/tftp.jsonl
export LOG LOG_BYTES=${LOG_BYTES:-33554432} LOG_PARTS=${LOG_PARTS:-3}
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps -all,+net_bind_service"$CAPS" \
    --ambient-caps -all,+net_bind_service"$CAPS" --bounding-set -all,+net_bind_service"$CAPS" \
    bash -c 'exec dnsmasq -k -C /srv/current/dnsmasq.conf --port=0 --pid-file= --log-facility=- --enable-tftp \
        --tftp-root=/srv/current/tftp --tftp-max=1000 "$@" 2> >(exec perl /log.pl)' tftp "$@"
