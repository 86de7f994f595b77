# net.sh: one bridge, three namespaces on it: srv (the network's DHCP server), rsp (the responder), cli (the Mac).
# net.sh BRIDGE ADDRESS: the Mac alone, on a bridge of the host. Its link goes with the namespace, and that with us.
set -euo pipefail
bridge=${1:-lab}
places=(srv:10.99.0.1 rsp:10.99.0.2 cli:10.99.0.100)
if [ $# = 0 ]; then
    ip link add name lab type bridge stp_state 0 forward_delay 0
    ip link set dev lab up
else
    places=("cli:$2")
fi
for one in "${places[@]}"; do
    name=${one%%:*}
    ip netns add "$name"
    link=mac-$name-$RANDOM
    ip link add name "$link" type veth peer name eth0 netns "$name"
    ip link set dev "$link" master "$bridge" up
    ip -n "$name" address add "${one#*:}/24" dev eth0
    ip -n "$name" link set dev eth0 up
    ip -n "$name" link set dev lo up
done
touch /run/netlab.ready
trap 'exit 0' TERM
while :; do sleep 1; done
