#!/bin/bash
# console.sh take|ask OPTIONS...: serial over LAN. The password is the first line of stdin, what follows is typed on the console.
# take: end another one's session first. ipmitool wants a terminal: script gives it one in here, whatever the caller has.
set -uo pipefail
how=$1
shift
IFS= read -r IPMI_PASSWORD || exit 1
export IPMI_PASSWORD
[[ $how == ask ]] || timeout -k 1 15 ipmitool -E "$@" sol deactivate </dev/null >/dev/null 2>&1
printf -v command '%q ' ipmitool -E "$@" sol activate
exec script -qefc "$command" /dev/null
