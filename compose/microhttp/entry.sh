# nginx as process 1, and beside it one loop that keeps what grows on the disk within bounds: the log, by renaming it and
# having nginx open a new one (USR1), and the inventories of machines that are not in rack.yml.
set -u
LOG=/logs/http.jsonl
MOST=${LOG_BYTES:-33554432} PARTS=${LOG_PARTS:-3} INVENTORIES=${INVENTORIES:-2048}

size_of() { [ -e "$1" ] && wc -c <"$1" || echo 0; }

rotate() {
    local n
    for ((n = PARTS; n > 1; n--)); do [ ! -e "$LOG.$((n - 1))" ] || mv -f "$LOG.$((n - 1))" "$LOG.$n"; done
    mv -f "$LOG" "$LOG.1" && kill -USR1 1
}

# Machines in rack.yml have a script of their own; of the others the oldest go.
prune_inventories() {
    local file excess
    local -a files=(/inventory/*.json)
    excess=$((${#files[@]} - INVENTORIES))
    ((excess > 0)) || return 0
    for file in $(ls -tr /inventory/); do
        ((excess > 0)) || break
        [[ $file == *.json && ! -e /srv/current/http/boot/${file%.json}.ipxe ]] || continue
        rm -f "/inventory/$file"; excess=$((excess - 1))
    done
}

watch_disk() {
    while sleep "${CHECK_SECONDS:-5}"; do
        (($(size_of "$LOG") < MOST)) || rotate
        prune_inventories
    done
}

# Who may see the status page: one `allow` for each address or network, and nobody else.
write_allow() {
    local net
    for net in ${STATUS_ALLOW:-127.0.0.0/8}; do
        [[ $net =~ ^[0-9a-fA-F.:]+(/[0-9]{1,3})?$ ]] && echo "allow $net;"
    done
    echo "deny all;"
}

write_allow >/tmp/status_allow.conf
# iPXE speaks TLS 1.2; the chain in server.pem holds the CA too, since iPXE may know no more of it than its fingerprint.
[ ! -e /tls/server.key ] || echo "listen 8443 ssl backlog=4096; ssl_certificate /tls/server.pem; ssl_certificate_key /tls/server.key;
ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:1m; ssl_session_timeout 1h;" >/tmp/tls.conf
mkdir -p /inventory/.part
# A line that a crash tore would swallow the next one.
[ ! -s "$LOG" ] || [ -z "$(tail -c 1 "$LOG")" ] || echo >>"$LOG"
watch_disk &
exec nginx -e stderr -c /etc/rackctl/nginx.conf
