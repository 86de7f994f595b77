#!/usr/bin/env bash
# Removes the project's own containers, images and links, by label and name; nothing else.
set -euo pipefail
ids=$(docker ps -aq --filter label=org.rackctl.role) && [ -n "$ids" ] && docker rm -f $ids >/dev/null
images=$(docker images -q --filter label=org.rackctl.role | sort -u) && [ -n "$images" ] && docker rmi -f $images >/dev/null
ip link show rackctl-lab >/dev/null 2>&1 && ip link del rackctl-lab
rm -rf demo
echo "clean: done"
