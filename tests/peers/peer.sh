#!/bin/bash
# check KIND: the server itself reads its file from stdin and says whether it is good.
# serve KIND ADDRESS/PREFIX: in a network namespace of its own, once the link rack0 was put into it.
set -euo pipefail
verb=$1 kind=$2
cat >/tmp/config
case $kind in
    dhcpd) check=(dhcpd -t -cf /tmp/config) serve=(dhcpd -f -d -cf /tmp/config rack0) ;;
    kea) check=(kea-dhcp4 -t /tmp/config) serve=(kea-dhcp4 -c /tmp/config) ;;
    dnsmasq) check=(dnsmasq --test -C /tmp/config)
        serve=(dnsmasq -k -C /tmp/config --port=0 --user=root --log-facility=- --log-dhcp --interface=rack0
            --dhcp-leasefile=/tmp/leases --pid-file=) ;;
    ignition) check=(ignition-validate /tmp/config) serve=(false) ;;
    perl) check=(perl -c /tmp/config) serve=(perl /tmp/config) ;;   # a server that a test wrote, to misbehave
    neighbour) check=(true) serve=(sleep infinity) ;;   # serves nothing: it keeps the carrier of the bridge up
    *) echo "peer: no server $kind" >&2; exit 2 ;;
esac
if [[ $verb == check ]]; then exec "${check[@]}" 2>&1; fi
for ((n = 0; n < 900; n++)); do [[ -d /sys/class/net/rack0 ]] && break; sleep 0.1; done
ip link set lo up
ip link set rack0 up
for address in "${@:3}"; do ip address add "$address" dev rack0; done
# raw-socket servers refuse a link that has no carrier yet
for ((n = 0; n < 600; n++)); do [[ $(cat /sys/class/net/rack0/operstate) == up ]] && break; sleep 0.05; done
echo "peer: serving"
exec "${serve[@]}" 2>&1
