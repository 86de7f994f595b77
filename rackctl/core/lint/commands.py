"""Core. Rules CC4xx: runcmd and bootcmd, which run at every start of the console, before sshd and before Docker."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rackctl.core.lint.header import CloudConfig
from rackctl.core.lint.rules import Finding, check, rule
from rackctl.core.yamldoc import Value

_START = r"(?:^|[;&|(]\s*|\b(?:sudo|exec|nohup|then|do)\s+)"
_DOCKER = re.compile(_START + r"(docker|docker-compose|wait-for-docker)(?=\s|$)")
_FOREVER = re.compile(
    _START + r"((?:tail\s+-[fF]|sleep\s+infinity|while\s+(?:true|:|\[\s*1\s*\]))(?=\s|;|$)(?!.*&\s*$))", re.MULTILINE
)
_PACKAGES = re.compile(_START + r"((?:apt|apt-get|yum|dnf|apk|systemctl|service)\s+[a-z-]+)")
_BACKGROUND = re.compile(r"(?<!&)&\s*(?:$|\))")

MAP_COMMAND = rule(
    "CC401", "cloud-config", "error", "a command that YAML reads as a map: the whole file is dropped",
    why="A colon and a blank inside an unquoted command make it a map; RancherOS wants a string or a list of strings.",
    bad="#cloud-config\nruncmd:\n- echo note: hello\n", good="#cloud-config\nruncmd:\n- 'echo note: hello'\n",
)  # fmt: skip
BAD_COMMAND = rule(
    "CC402", "cloud-config", "error", "a command with a number or boolean in it: the whole file is dropped",
    why="In [sleep, 5] the 5 is a number, and RancherOS converts nothing here; one such item and no key is installed. "
    "`ros config validate` does not see it.",
    bad="#cloud-config\nruncmd:\n- [sleep, 5]\n", good="#cloud-config\nruncmd:\n- [sleep, '5']\n",
)  # fmt: skip
DOCKER_COMMAND = rule(
    "CC403", "cloud-config", "error", "Docker in runcmd: it waits for a Docker that waits for it",
    why="User Docker starts when the console is done, and the console is done when runcmd is. `wait-for-docker` waits "
    "for ever; `docker` fails and stops the commands after it. Use rancher.services, or /etc/rc.local (mode 0755).",
    bad="#cloud-config\nruncmd:\n- docker run -d nginx:1.27.2\n",
    good="#cloud-config\nrancher:\n  services:\n    web: {image: 'nginx:1.27.2'}\n",
)  # fmt: skip
ENDLESS_COMMAND = rule(
    "CC404", "cloud-config", "warning", "a command that does not end",
    why="sshd and getty start after runcmd: a command that hangs locks everybody out.",
    bad="#cloud-config\nruncmd:\n- while true; do date; done\n",
    good="#cloud-config\nruncmd:\n- (while true; do date; sleep 60; done) >/dev/null &\n",
)  # fmt: skip
REBOOT_COMMAND = rule(
    "CC405", "cloud-config", "warning", "a reboot in runcmd",
    why="runcmd runs at every start, so an unconditional reboot never ends.",
    bad="#cloud-config\nruncmd:\n- reboot\n", good="#cloud-config\nruncmd:\n- test -e /marked || touch /marked\n",
)  # fmt: skip
PACKAGE_COMMAND = rule(
    "CC406", "cloud-config", "warning", "a package or service manager that RancherOS' console lacks",
    why="The default console is busybox: no apt, yum or systemctl. The command fails, and the first failure stops all "
    "commands after it. `rancher.console: debian` has apt, pulled from the internet at first boot.",
    bad="#cloud-config\nruncmd:\n- apt-get install -y htop\n",
    good="#cloud-config\nrancher: {console: debian}\nruncmd:\n- apt-get install -y htop\n",
)  # fmt: skip


@check("cloud-config")
def check_commands(doc: CloudConfig) -> Iterator[Finding]:
    """Each command of runcmd and bootcmd."""
    console = doc.find("rancher", "console")
    busybox = console is None or console.text in ("", "default")
    for key in ("runcmd", "bootcmd"):
        commands = doc.find(key)
        for command in commands.items if commands else ():
            yield from _shape(command, key)
            if command.kind in ("str", "list"):
                yield from _words(command, key, busybox)


def _shape(command: Value, key: str) -> Iterator[Finding]:
    if command.kind == "map":
        yield MAP_COMMAND.at(command.line, command.column, f"{key}: a map to YAML; quote the whole command")
    odd = command if command.scalar and command.kind not in ("str", "null") else None
    odd = odd or next((item for item in command.items if item.kind != "str"), None)
    if odd:
        shown = odd.text[:40] or odd.kind
        yield BAD_COMMAND.at(odd.line, odd.column, f"{key}: {shown} is a {odd.kind}, not a string; quote it")


def _words(command: Value, key: str, busybox: bool) -> Iterator[Finding]:
    listed = command.kind == "list"
    text = " ".join(item.text for item in command.items) if listed else command.text
    shell = re.match(r"\s*(?:sudo\s+)?(?:/bin/|/usr/bin/)?(?:ba)?sh\s+-c\s+['\"]?", text)
    body = text[shell.end() :] if shell else text
    line, column = command.line, command.column
    if (match := _DOCKER.search(body)) and not _BACKGROUND.search(body):
        yield DOCKER_COMMAND.at(line, column, f"{key}: {match[1]} cannot work before the console is done")
    if (match := _FOREVER.search(body)) and not _BACKGROUND.search(body):
        yield ENDLESS_COMMAND.at(line, column, f"{key}: {match[1]} does not end, and sshd starts after it")
    if re.match(r"\s*(?:sudo\s+)?(reboot|poweroff|halt|shutdown)\b", body):
        yield REBOOT_COMMAND.at(line, column, f"{key} runs at every start: this never ends")
    if busybox and (match := _PACKAGES.search(body)):
        yield PACKAGE_COMMAND.at(line, column, f"{key}: the default console has no {match[1].split()[0]}")
