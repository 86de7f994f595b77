#!/usr/bin/env bash
# Removes what tests that were killed left running: their racks' services, which Docker starts again with itself and
# which hold the addresses of the next run, and the servers they were tried against. Only containers with the project's
# label whose rack lies in pytest's folders, or whose role only tests have. Called with the tests' lock held.
set -euo pipefail

format='{{.ID}} {{.Label "org.rackctl.role"}} {{.Label "com.docker.compose.project"}} {{.Label "com.docker.compose.project.working_dir"}}'
containers=()
projects=()
while read -r id role project folder; do
    case "$role $folder" in
        "peers "* | "test "* | "test-bmc "*) containers+=("$id") ;;
        *" "*/pytest-of-*/.rackctl) containers+=("$id") projects+=("$project") ;;
    esac
done < <(docker ps -a --filter label=org.rackctl.role --format "$format")
[ "${#containers[@]}" -gt 0 ] || exit 0

echo "test: removing ${#containers[@]} containers that killed tests left"
docker rm -f "${containers[@]}" >/dev/null
for project in $(printf '%s\n' "${projects[@]}" | sort -u); do
    mapfile -t networks < <(docker network ls -q --filter "label=com.docker.compose.project=$project")
    [ "${#networks[@]}" -eq 0 ] || docker network rm "${networks[@]}" >/dev/null
done
