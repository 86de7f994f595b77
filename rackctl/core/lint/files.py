"""Core. Rules CC21x to CC23x: write_files, hostname and mounts."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import re
import zlib
from collections.abc import Iterator

from rackctl.core.lint.header import CloudConfig
from rackctl.core.lint.rules import Edit, Finding, check, rule
from rackctl.core.yamldoc import Value

ENCODINGS = ("", "b64", "base64", "gz", "gzip", "gz+base64", "gzip+base64", "gz+b64", "gzip+b64")
_PERMISSIONS = re.compile(r"0?[0-7]{3,4}")
_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.IGNORECASE)
# Decimal forms of the usual modes: what a program prints that holds modes as numbers.
_DECIMAL = {"420": "0644", "493": "0755", "384": "0600", "448": "0700", "511": "0777", "416": "0640", "488": "0750"}
_LEFTOVER = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|%\{.*?\}|<%.*?%>|\bCHANGE[_-]?ME\b|\bREPLACE[_-]?ME\b|@@\w+@@")
_IPXE_VARIABLE = re.compile(r"\$\{(?:hostname|mac|uuid|serial|ip|net\d/\w+|next-server|asset|platform)(?::\w+)?\}")
_METADATA = re.compile(r"\$(?:public|private)_ipv[46]")

OCTAL_PERMISSIONS = rule(
    "CC210", "cloud-config", "error", "permissions without quotes are read as an octal number",
    why="`permissions: 0644` is the number 420 to YAML, and RancherOS then reads the text \"420\" as mode 0420: the "
    "owner cannot write, others cannot read.",
    bad="#cloud-config\nwrite_files:\n- {path: /etc/motd, permissions: 0644, content: hello}\n",
    good="#cloud-config\nwrite_files:\n- {path: /etc/motd, permissions: '0644', content: hello}\n",
)  # fmt: skip
BAD_PERMISSIONS = rule(
    "CC211", "cloud-config", "error", "permissions that are no octal mode: the file is not written",
    why="RancherOS takes three or four octal digits. It logs anything else (0o644, u+rw, 888) and skips the file.",
    bad="#cloud-config\nwrite_files:\n- {path: /etc/motd, permissions: u=rw, content: hello}\n",
    good="#cloud-config\nwrite_files:\n- {path: /etc/motd, permissions: '0600', content: hello}\n",
)  # fmt: skip
DECIMAL_PERMISSIONS = rule(
    "CC212", "cloud-config", "warning", "permissions look like a decimal number",
    why="420 is what a program prints for mode 0644 when it forgets to print it in octal; read as octal it is another "
    "mode.",
    bad="#cloud-config\nwrite_files:\n- {path: /etc/motd, permissions: '420', content: hello}\n",
    good="#cloud-config\nwrite_files:\n- {path: /etc/motd, permissions: '0644', content: hello}\n",
)  # fmt: skip
BAD_PATH = rule(
    "CC213", "cloud-config", "error", "a file without an absolute path",
    why="The path is used as it stands; without one, or relative, the file lands nowhere that anybody looks.",
    bad="#cloud-config\nwrite_files:\n- {path: etc/motd, content: hello}\n",
    good="#cloud-config\nwrite_files:\n- {path: /etc/motd, content: hello}\n",
)  # fmt: skip
BAD_ENCODING = rule(
    "CC214", "cloud-config", "error", "an unknown encoding: the file is not written",
    why="RancherOS knows b64, base64, gz, gzip and the four gz+b64 spellings. With any other it skips the file.",
    bad="#cloud-config\nwrite_files:\n- {path: /etc/motd, encoding: base-64, content: aGVsbG8=}\n",
    good="#cloud-config\nwrite_files:\n- {path: /etc/motd, encoding: base64, content: aGVsbG8=}\n",
)  # fmt: skip
BAD_CONTENT = rule(
    "CC215", "cloud-config", "error", "content that is not in its encoding",
    why="Content that cannot be decoded is logged and the file is skipped.",
    bad="#cloud-config\nwrite_files:\n- {path: /etc/motd, encoding: b64, content: hello there}\n",
    good="#cloud-config\nwrite_files:\n- {path: /etc/motd, encoding: b64, content: aGVsbG8=}\n",
)  # fmt: skip
SAME_PATH = rule(
    "CC216", "cloud-config", "warning", "two files have one path",
    why="They are written in order; only the last stays.",
    bad="#cloud-config\nwrite_files:\n- {path: /etc/motd, content: a}\n- {path: /etc/motd, content: b}\n",
    good="#cloud-config\nwrite_files:\n- {path: /etc/motd, content: b}\n",
)  # fmt: skip
LEFTOVER = rule(
    "CC217", "cloud-config", "warning", "what looks like an unfilled template",
    why="`{{ name }}`, `{% if %}` and CHANGE_ME in a final file mostly mean that nobody rendered it.",
    bad="#cloud-config\nwrite_files:\n- {path: /etc/motd, content: 'welcome to {{ hostname }}'}\n",
    good="#cloud-config\nwrite_files:\n- {path: /etc/motd, content: welcome to n1}\n",
)  # fmt: skip
IPXE_VARIABLE = rule(
    "CC218", "cloud-config", "warning", "an iPXE variable, which nobody fills in here",
    why="`${hostname}`, `${mac}` and the like exist in iPXE scripts. In a cloud-config they stay as they are; use them "
    "in the URL, so that the server can answer for each machine.",
    bad="#cloud-config\nhostname: node-${mac}\n", good="#cloud-config\nhostname: node-1\n",
)  # fmt: skip
METADATA = rule(
    "CC219", "cloud-config", "warning", "an address variable that is empty outside a cloud",
    why="`$private_ipv4` and `$public_ipv4` are filled from a cloud's metadata. With a `url:` source they become empty "
    "text.",
    bad="#cloud-config\nwrite_files:\n- {path: /etc/ip, content: $private_ipv4}\n",
    good="#cloud-config\nwrite_files:\n- {path: /etc/ip, content: 10.0.0.5}\n",
)  # fmt: skip
NOT_EXECUTABLE = rule(
    "CC220", "cloud-config", "warning", "a start script that may not run",
    why="/etc/rc.local and /opt/rancher/bin/start.sh are run only if they are executable; the default mode is 0644.",
    bad="#cloud-config\nwrite_files:\n- {path: /etc/rc.local, content: 'echo up'}\n",
    good="#cloud-config\nwrite_files:\n- {path: /etc/rc.local, permissions: '0755', content: 'echo up'}\n",
)  # fmt: skip
BAD_HOSTNAME = rule(
    "CC225", "cloud-config", "warning", "a host name that DNS and Kubernetes refuse",
    why="RFC 1123: labels of letters, digits and `-`, 63 characters at most. The kernel takes others, DHCP servers, "
    "certificates and kubelets do not.",
    bad="#cloud-config\nhostname: web_1\n", good="#cloud-config\nhostname: web-1\n",
)  # fmt: skip
BAD_MOUNT = rule(
    "CC230", "cloud-config", "error", "a mount that has not four items",
    why="A mount is [device, target, type, options]. With fewer RancherOS logs it and then reads the missing one: the "
    "console's start panics, and with it everything after.",
    bad="#cloud-config\nmounts:\n- [/dev/sdb1, /mnt/data, ext4]\n",
    good="#cloud-config\nmounts:\n- [/dev/sdb1, /mnt/data, ext4, '']\n",
)  # fmt: skip


@check("cloud-config")
def check_files(doc: CloudConfig) -> Iterator[Finding]:
    """write_files, one by one and together."""
    files = doc.find("write_files")
    seen: dict[str, int] = {}
    for item in files.items if files else ():
        if item.kind != "map":
            continue
        path, place = item.get("path"), item.get("path") or item
        if path is None or not path.text.startswith("/"):
            yield BAD_PATH.at(place.line, place.column, "the file needs an absolute path")
        elif (full := (item.get("container") or path).text + path.text) in seen:
            yield SAME_PATH.at(path.line, path.column, f"{path.text} is written on line {seen[full]} already")
        else:
            seen[full] = path.line
        yield from _permissions(item, path.text if path else "")
        yield from _content(item)


def _permissions(item: Value, path: str) -> Iterator[Finding]:
    mode = item.get("permissions")
    if path in ("/etc/rc.local", "/opt/rancher/bin/start.sh") and not (mode and re.search(r"[1357]", mode.text)):
        yield NOT_EXECUTABLE.at(item.line, item.column, f"{path} runs only with permissions: '0755'")
    if mode is None or not mode.scalar or mode.kind == "null":
        return
    line, column = mode.line, mode.column
    if mode.kind == "int" and mode.plain and mode.converted() != mode.text:
        edit = Edit(line, column, mode.end_line, mode.end_column, f"'{mode.text.replace('0o', '0')}'")
        yield OCTAL_PERMISSIONS.at(line, column, f"{mode.text} becomes mode 0{mode.converted()}; quote it", edit)
    elif not _PERMISSIONS.fullmatch(mode.text):
        yield BAD_PERMISSIONS.at(line, column, f"{mode.text[:40]!r} is no mode such as '0644'; the file is not written")
    elif mode.text in _DECIMAL:
        yield DECIMAL_PERMISSIONS.at(line, column, f"{mode.text} is decimal for {_DECIMAL[mode.text]}: is that meant?")


def _content(item: Value) -> Iterator[Finding]:
    encoding, content = item.get("encoding"), item.get("content")
    name = encoding.text if encoding else ""
    if encoding and name not in ENCODINGS:
        yield BAD_ENCODING.at(encoding.line, encoding.column, f"{name[:40]!r} is none of {', '.join(ENCODINGS[1:])}")
    elif content and name and not _decodes(content.text, name):
        yield BAD_CONTENT.at(content.line, content.column, f"the content is not {name}")


def _decodes(text: str, encoding: str) -> bool:
    content = text.encode()
    try:
        if "64" in encoding:
            content = base64.b64decode(re.sub(rb"[\r\n]", b"", content), validate=True)
        if encoding.startswith("gz"):
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
                packed.read(1)
    except (binascii.Error, OSError, EOFError, zlib.error, ValueError):
        return False
    return True


@check("cloud-config")
def check_leftovers(doc: CloudConfig) -> Iterator[Finding]:
    """Text that some other program should have filled in."""
    if not any(sign in doc.text for sign in ("{{", "{%", "%{", "<%", "${", "$p", "@@", "CHANGE", "REPLACE")):
        return
    for number, line in enumerate(doc.lines, 1):
        for pattern, found, say in (
            (_LEFTOVER, LEFTOVER, "is template text that nobody filled in"),
            (_IPXE_VARIABLE, IPXE_VARIABLE, "is an iPXE variable; here it stays as it is"),
            (_METADATA, METADATA, "is empty with a url: source"),
        ):
            match = pattern.search(line)
            # docker ... --format takes a Go template
            meant = found is LEFTOVER and "--format" in line
            if match and not meant and not line.lstrip().startswith("#"):
                yield found.at(number, match.start() + 1, f"{match[0][:60]} {say}")


@check("cloud-config")
def check_hostname(doc: CloudConfig) -> Iterator[Finding]:
    """RFC 1123 section 2.1."""
    name = doc.find("hostname")
    if not name or name.kind != "str" or not name.text or "$" in name.text or "{" in name.text:
        return
    if not _HOSTNAME.fullmatch(name.text) or len(name.text) > 253:
        yield BAD_HOSTNAME.at(name.line, name.column, f"{name.text[:70]!r} is not a host name of RFC 1123")


@check("cloud-config")
def check_mounts(doc: CloudConfig) -> Iterator[Finding]:
    """Four items each."""
    mounts = doc.find("mounts")
    for mount in mounts.items if mounts else ():
        if mount.kind == "list" and len(mount.items) != 4:
            message = f"{len(mount.items)} items; a mount is [device, target, type, options]"
            yield BAD_MOUNT.at(mount.line, mount.column, message)
