#!/bin/bash
# Serial over LAN: the password is the first line of stdin, all that follows is typed on the console.
# ipmitool wants a terminal: script gives it one inside the container, so that nothing depends on the caller's.
set -uo pipefail
IFS= read -r IPMI_PASSWORD || exit 1
export IPMI_PASSWORD
printf -v command '%q ' ipmitool -E "$@"
exec script -qefc "$command" /dev/null
