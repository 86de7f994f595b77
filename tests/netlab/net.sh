# One bridge, three namespaces on it: srv (the network's DHCP server), rsp (the responder), cli (the Mac).
set -euo pipefail
ip link add name lab type bridge stp_state 0 forward_delay 0
ip link set dev lab up
for one in srv:10.99.0.1 rsp:10.99.0.2 cli:10.99.0.100; do
    name=${one%%:*}
    ip netns add "$name"
    ip link add name "$name" type veth peer name eth0 netns "$name"
    ip link set dev "$name" master lab up
    ip -n "$name" address add "${one#*:}/24" dev eth0
    ip -n "$name" link set dev eth0 up
    ip -n "$name" link set dev lo up
done
touch /run/netlab.ready
trap 'exit 0' TERM
while :; do sleep 1; done
