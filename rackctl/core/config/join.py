"""Core. Joining the control plane: what each kind of cluster wants on each kind of system.

The token comes from secrets/ and goes to nodes of rack.yml alone: `plan_join` is never asked for another machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from rackctl.core.configmodel import Join
from rackctl.core.yamldoc import dump_yaml
from rackctl.errors import ConfigError

FOLDER = "/var/lib/rackctl"
TOKEN = f"{FOLDER}/join-token"
ENV = f"{FOLDER}/join.env"
SCRIPT = f"{FOLDER}/join.sh"
_PORTS = {"k3s": 6443, "rke2": 9345, "kubeadm": 6443, "docker-swarm": 2377}
# With RancherOS' Docker 19.03 and Linux 4.14: the last k3s whose container still runs on cgroups v1 of that age.
_RANCHEROS_K3S = "v1.17.17-k3s1"


@dataclass(frozen=True)
class JoinFile:
    """A file that only root may read, unless mode says more."""

    path: str
    content: str
    mode: int = 0o600


@dataclass(frozen=True)
class JoinPlan:
    """files: to be written; services: RancherOS' (compose 1); unit: of systemd, which runs SCRIPT or an agent;
    command: what to run once at each boot on a system without systemd."""

    files: tuple[JoinFile, ...] = ()
    services: dict[str, object] | None = None
    unit: tuple[str, str] | None = None
    command: str = ""
    k3os: dict[str, object] | None = None


def server_url(join: Join) -> str:
    """The server with its scheme and port."""
    scheme, _, rest = join.server.rstrip("/").rpartition("://")
    port = _PORTS.get(join.kind)
    rest = rest if port is None or rest.rpartition(":")[2].isdigit() else f"{rest}:{port}"
    return f"{scheme or 'https'}://{rest}"


def plan_join(join: Join, os: str, kind: str, name: str, token: str) -> JoinPlan:
    """os: its name in the catalogue; kind: of its config; name: the node's. Raises ConfigError for a pair that cannot
    work."""
    if kind in ("talos", "none", "autoyast") or (os == "k3os" and join.kind != "k3s"):
        raise ConfigError(
            f"{os} cannot join with {join.kind}",
            "rack.yml",
            "join: {kind: none} at this node; Talos joins by its config",
        )
    if os == "rancheros" and join.kind in ("rke2", "kubeadm"):
        raise ConfigError(
            f"{join.kind} needs systemd, which RancherOS has not", "rack.yml", "use k3s, rancher or docker-swarm"
        )
    if join.kind == "kubeadm" and join.role == "server":
        raise ConfigError(
            "kubeadm joins one more control plane with a certificate key, which rackctl does not hand out",
            "rack.yml",
            "join: {role: agent}, and kubeadm join --control-plane by hand",
        )
    if os == "discovery":
        return _rehearsal(join, name, token)
    if os == "rancheros":
        return _RANCHEROS[join.kind](join, name, token)
    if os == "k3os":
        return JoinPlan(k3os={"server_url": server_url(join), "token": token})
    return _SYSTEMD[join.kind](join, name, token)


def _agent_config(join: Join, name: str, token: str) -> str:
    """config.yaml of k3s and rke2: the same keys (docs.k3s.io, docs.rke2.io)."""
    content: dict[str, object] = {"server": server_url(join), "token": token, "node-name": name}
    if join.labels:
        content["node-label"] = [f"{key}={value}" for key, value in join.labels.items()]
    return dump_yaml(content)


def _rehearsal(join: Join, name: str, token: str) -> JoinPlan:
    """The discovery OS runs no agent: it asks the control plane the agent's first question, with its token and name."""
    env = f"JOIN_KIND={join.kind}\nJOIN_SERVER={server_url(join)}\nJOIN_NAME={name}\n"
    return JoinPlan(files=(JoinFile(TOKEN, token + "\n"), JoinFile(ENV, env)))


def _rancheros_k3s(join: Join, name: str, token: str) -> JoinPlan:
    labels = [word for key, value in join.labels.items() for word in ("--node-label", f"{key}={value}")]
    service = {
        "image": f"rancher/k3s:{(join.version or _RANCHEROS_K3S).replace('+', '-')}",
        "command": [join.role, "--node-name", name, *labels],
        "environment": [f"K3S_URL={server_url(join)}", f"K3S_TOKEN_FILE={TOKEN}"],
        "net": "host",
        "pid": "host",
        "privileged": True,
        "restart": "always",
        "volumes": [
            f"{FOLDER}:{FOLDER}:ro", "/var/lib/rancher/k3s:/var/lib/rancher/k3s",
            "/var/lib/kubelet:/var/lib/kubelet:shared", "/etc/rancher:/etc/rancher", "/lib/modules:/lib/modules:ro",
        ],
    }  # fmt: skip
    return JoinPlan(files=(JoinFile(TOKEN, token + "\n"),), services={"k3s-agent": service})


def _rancher_options(join: Join, name: str) -> list[str]:
    roles = ["--worker"] if join.role == "agent" else ["--etcd", "--controlplane", "--worker"]
    labels = [word for key, value in join.labels.items() for word in ("--label", f"{key}={value}")]
    return ["--server", server_url(join), "--node-name", name, *roles, *labels]


def _rancher_env(join: Join, token: str) -> str:
    # run.sh of rancher/rancher-agent reads these where the options --token and --ca-checksum are not given.
    return f"CATTLE_TOKEN={token}\n" + (f"CATTLE_CA_CHECKSUM={join.ca_hash}\n" if join.ca_hash else "")


def _rancheros_rancher(join: Join, name: str, token: str) -> JoinPlan:
    _need_version(join)
    service = {
        "image": f"rancher/rancher-agent:{join.version}",
        "command": _rancher_options(join, name),
        "env_file": ENV,
        "net": "host",
        "privileged": True,
        "restart": "unless-stopped",
        "volumes": ["/etc/kubernetes:/etc/kubernetes", "/var/run:/var/run"],
    }
    return JoinPlan(files=(JoinFile(ENV, _rancher_env(join, token)),), services={"rancher-agent": service})


def _need_version(join: Join) -> None:
    if not join.version:
        raise ConfigError("join: rancher needs the server's version", "rack.yml", "join: {version: v2.6.14}")


def _swarm_command(join: Join) -> str:
    address = server_url(join).partition("://")[2]
    state = "docker info --format '{{.Swarm.LocalNodeState}}'"
    return f'[ "$({state})" = active ] || docker swarm join --token "$(cat {TOKEN})" {address}'


def _rancheros_swarm(join: Join, name: str, token: str) -> JoinPlan:
    service = {
        "image": "docker:19.03.15",
        "command": ["sh", "-c", _swarm_command(join)],
        "restart": "on-failure",
        "volumes": ["/var/run/docker.sock:/var/run/docker.sock", f"{FOLDER}:{FOLDER}:ro"],
    }
    return JoinPlan(files=(JoinFile(TOKEN, token + "\n"),), services={"swarm-join": service})


def _unit(description: str, start: str, more: str, before: str = "") -> str:
    return (
        f"[Unit]\nDescription={description}\nWants=network-online.target\n"
        "After=network-online.target docker.service\n\n"
        f"[Service]\n{before}ExecStart={start}\n{more}\n[Install]\nWantedBy=multi-user.target\n"
    )


def _binary(join: Join) -> str:
    if join.url:
        return join.url
    if not join.version:
        raise ConfigError(f"join: {join.kind} needs a version", "rack.yml", "join: {version: v1.31.4+k3s1}")
    place = {"k3s": ("k3s-io/k3s", "k3s"), "rke2": ("rancher/rke2", "rke2.linux-amd64.tar.gz")}[join.kind]
    return f"https://github.com/{place[0]}/releases/download/{quote(join.version, safe='')}/{place[1]}"


def _fetch(join: Join, target: str) -> str:
    check = f"echo '{join.sha256}  /opt/rackctl/part' | sha256sum -c -\n" if join.sha256 else ""
    url = _binary(join)
    unpack = f"tar -xzf /opt/rackctl/part -C {target}" if join.kind == "rke2" else f"install -m 755 part {target}/k3s"
    done = f"{target}/bin/rke2" if join.kind == "rke2" else f"{target}/k3s"
    return (
        f"#!/bin/sh\nset -e\n[ ! -x {done} ] || exit 0\nmkdir -p /opt/rackctl {target}\ncd /opt/rackctl\n"
        f"curl -fsSL --retry 5 -o part '{url}' || wget -q -O part '{url}'\n{check}{unpack}\nrm -f part\n"
    )


def _agent(join: Join, name: str, token: str) -> JoinPlan:
    """k3s and rke2: one binary, one config file, one service."""
    target = "/opt/rke2" if join.kind == "rke2" else "/opt/bin"
    binary = f"{target}/bin/rke2" if join.kind == "rke2" else f"{target}/k3s"
    files = (
        JoinFile(f"/etc/rancher/{join.kind}/config.yaml", _agent_config(join, name, token)),
        JoinFile(SCRIPT, _fetch(join, target), 0o755),
    )
    # TimeoutStartSec as in k3s' own unit: the 90 seconds of systemd would cut the download off, and again each time.
    more = (
        "TimeoutStartSec=0\nKillMode=process\nDelegate=yes\nLimitNOFILE=1048576\nTasksMax=infinity\n"
        "Restart=always\nRestartSec=5s\n"
    )
    unit = _unit(f"{join.kind} {join.role}", f"{binary} {join.role}", more, f"Type=exec\nExecStartPre={SCRIPT}\n")
    service = f"{join.kind}-{join.role}"
    command = f"{SCRIPT} && (while :; do {binary} {join.role}; sleep 5; done) >/var/log/{service}.log 2>&1 &"
    return JoinPlan(files, unit=(f"{service}.service", unit), command=command)


def _once(join: Join, files: tuple[JoinFile, ...], command: str) -> JoinPlan:
    script = JoinFile(SCRIPT, f"#!/bin/sh\n{command}\n", 0o755)
    more = "RemainAfterExit=yes\nRestart=on-failure\nRestartSec=10s\n"
    unit = _unit(f"join {join.kind}", SCRIPT, more, "Type=oneshot\n")
    return JoinPlan((*files, script), unit=("rackctl-join.service", unit), command=f"{SCRIPT} &")


def _kubeadm(join: Join, name: str, token: str) -> JoinPlan:
    """kubeadm.k8s.io/v1beta3, read by kubeadm 1.22 and later."""
    found: dict[str, object] = {"token": token, "apiServerEndpoint": server_url(join).partition("://")[2]}
    found |= {"caCertHashes": [f"sha256:{join.ca_hash}"]} if join.ca_hash else {"unsafeSkipCAVerification": True}
    node: dict[str, object] = {"name": name}
    if join.labels:
        labels = ",".join(f"{key}={value}" for key, value in join.labels.items())
        node["kubeletExtraArgs"] = {"node-labels": labels}
    content = {
        "apiVersion": "kubeadm.k8s.io/v1beta3",
        "kind": "JoinConfiguration",
        "discovery": {"bootstrapToken": found, "tlsBootstrapToken": token},
        "nodeRegistration": node,
    }
    path = "/etc/kubernetes/rackctl-join.yaml"
    command = f"[ -e /etc/kubernetes/kubelet.conf ] || exec kubeadm join --config {path}"
    return _once(join, (JoinFile(path, dump_yaml(content)),), command)


def _rancher(join: Join, name: str, token: str) -> JoinPlan:
    _need_version(join)
    options = " ".join(_rancher_options(join, name))
    command = (
        "docker inspect rancher-agent >/dev/null 2>&1 || exec docker run -d --name rancher-agent --privileged "
        f"--restart=unless-stopped --net=host --env-file {ENV} -v /etc/kubernetes:/etc/kubernetes -v /var/run:/var/run "
        f"rancher/rancher-agent:{join.version} {options}"
    )
    return _once(join, (JoinFile(ENV, _rancher_env(join, token)),), command)


def _swarm(join: Join, name: str, token: str) -> JoinPlan:
    return _once(join, (JoinFile(TOKEN, token + "\n"),), _swarm_command(join))


_RANCHEROS = {"k3s": _rancheros_k3s, "rancher": _rancheros_rancher, "docker-swarm": _rancheros_swarm}
_SYSTEMD = {"k3s": _agent, "rke2": _agent, "kubeadm": _kubeadm, "rancher": _rancher, "docker-swarm": _swarm}
