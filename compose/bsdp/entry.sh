# dnsmasq in the foreground as nobody. Its lines go to the log of the tftp container, as JSON with a microsecond clock: a
# Mac's DHCP and its TFTP are one story. Both append whole lines.
# dnsmasq insists on NET_ADMIN for DHCP (it may set ARP entries), and port 67 is privileged; nothing else is handed on.
write_log() {
    while IFS= read -r line; do
        line=${line//[[:cntrl:]]/?}; line=${line//\\/\\\\}; line=${line//\"/\\\"}
        printf '{"t":%s,"line":"%s"}\n' "$EPOCHREALTIME" "$line" >>/logs/tftp.jsonl
        printf '%s\n' "$line" >&2
    done
}
export -f write_log
# Bound to its interface it shares port 67 with DHCP servers of other interfaces, as libvirt's and the lab's are.
interface=$(ip -o -4 address show to "$1/32" | awk '{ print $2; exit }')
[ -n "$interface" ] || { echo "no interface has the address $1" >&2; exit 1; }
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps -all,+net_bind_service,+net_admin \
    --ambient-caps -all,+net_bind_service,+net_admin --bounding-set -all,+net_bind_service,+net_admin \
    bash -c 'exec dnsmasq -k -C /srv/current/bsdp/dnsmasq.conf --interface="$1" --pid-file= --log-facility=- 2> >(write_log)' bsdp "$interface"
