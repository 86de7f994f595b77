# Applies the machine's cloud-config (docs/machine-config.md names the subset) and rehearses the join. Sourced by init;
# $1: the file. Sets `applied`, fields for the check-in's query. ROOT: the root to write below (for tests).
ROOT=${ROOT:-}
out=$ROOT/tmp/config.d

digest() { sha256sum | cut -c 1-12; }

write_file() {
    path=$(cat "$1.path"); target=$ROOT$path
    mkdir -p "${target%/*}" || return 1
    case $(cat "$1.encoding" 2>/dev/null) in
        '') cat "$1.content" ;;
        b64 | base64) tr -d '\n' <"$1.content" | base64 -d ;;
        gz+b64 | gzip+b64 | gz+base64 | gzip+base64) tr -d '\n' <"$1.content" | base64 -d | gunzip ;;
        *) say "write_files: the encoding of $path is not known"; return 1 ;;
    esac >"$target.new" && chmod "$(cat "$1.permissions" 2>/dev/null || echo 0644)" "$target.new" && mv "$target.new" "$target"
}

set_hostname() {
    hostname "$1"
    mkdir -p "$ROOT/etc"; echo "$1" >"$ROOT/etc/hostname"
    hosts=$(grep -v '^127\.0\.1\.1[[:space:]]' "$ROOT/etc/hosts" 2>/dev/null)
    printf '%s\n127.0.1.1\t%s\n' "${hosts:-127.0.0.1 localhost}" "$1" >"$ROOT/etc/hosts"
}

# The agent's first question, which changes nothing there: it needs the right token and tells the node's name.
rehearse_join() {
    token=$(cat "$ROOT/var/lib/rackctl/join-token"); pair=${token##*::}
    case $pair in *:*) ;; *) pair=node:$pair ;; esac
    basic=$(printf %s "$pair" | base64 | tr -d '\n')
    case $JOIN_KIND in
        k3s) ask /v1-k3s/config "Authorization: Basic $basic" ;;
        rke2) ask /v1-rke2/config "Authorization: Basic $basic" ;;
        kubeadm) ask /api/v1/namespaces/kube-public/configmaps/cluster-info "Authorization: Bearer $token" ;;
        rancher) ask /v3/connect/config "X-API-Tunnel-Token: $token" ;;
        docker-swarm) address=${JOIN_SERVER#*://}; nc -z -w 5 "${address%:*}" "${address##*:}" ;;
    esac
}
ask() { wget -q -T 10 -O /dev/null --header "$2" --header "K3s-Node-Name: $JOIN_NAME" "$JOIN_SERVER$1"; }

apply_config() {
    applied=
    [ "$(head -n 1 "$1")" = '#cloud-config' ] || { say "config is no cloud-config: nothing of it is applied"; return; }
    rm -rf "$out"; mkdir -p "$out"
    awk -v out="$out" -f "${CONFIG_AWK:-/bin/config.awk}" "$1"
    if [ -s "$out/keys" ]; then
        mkdir -p "$ROOT/root/.ssh"; chmod 700 "$ROOT/root/.ssh"
        cat "$out/keys" >"$ROOT/root/.ssh/authorized_keys"; chmod 600 "$ROOT/root/.ssh/authorized_keys"
        applied="&keys=$(wc -l <"$out/keys" | tr -d ' ')-$(digest <"$out/keys")"
    fi
    count=0; : >"$out/written"
    while [ -e "$out/file.$((count + 1)).path" ]; do
        count=$((count + 1))
        write_file "$out/file.$count" && cat "$ROOT$path" >>"$out/written"
    done
    [ $count = 0 ] || applied="$applied&files=$count-$(digest <"$out/written")"
    [ ! -s "$out/hostname" ] || set_hostname "$(cat "$out/hostname")"
    count=1
    while [ -e "$out/command.$count" ]; do
        sh "$out/command.$count" || { say "runcmd $count failed: those after it are not run"; break; }
        count=$((count + 1))
    done
    if [ -e "$ROOT/var/lib/rackctl/join.env" ]; then
        . "$ROOT/var/lib/rackctl/join.env"
        if rehearse_join; then join=ok; else join=failed; fi
        say "join: $JOIN_KIND at $JOIN_SERVER as $JOIN_NAME: $join"
        applied="$applied&join=$JOIN_KIND-$join"
    fi
}
