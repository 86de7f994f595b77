"""Core. The one table of what iPXE v2.0.0 can be built with: commands and protocols, by the words of rack.yml.

Macros, defaults and the platforms' own changes to them: src/config/general.h of that release; the commands of each
macro: the COMMAND() lines of src/hci/commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Feature:
    """macro: in config/general.h. bios, efi: whether it is on as upstream has it. commands: what a script gains."""

    macro: str
    bios: bool
    efi: bool
    commands: tuple[str, ...] = ()


def _command(macro: str, commands: str, bios: bool = True, efi: bool = True) -> Feature:
    return Feature(f"{macro}_CMD", bios, efi, tuple(commands.split()))


COMMANDS = {
    "autoboot": _command("AUTOBOOT", "autoboot"),
    "cert": _command("CERT", "certstat certstore certfree", bios=False),
    "config": _command("CONFIG", "config"),
    "console": _command("CONSOLE", "console colour cpair", bios=False),
    "cpuid": _command("CPUID", "cpuid"),
    "digest": _command("DIGEST", "md4sum md5sum sha1sum sha224sum sha256sum sha384sum sha512sum", bios=False),
    "fcmgmt": _command("FCMGMT", "fcstat fcels"),
    "fdt": _command("FDT", "fdt", bios=False, efi=False),
    "form": _command("FORM", "form item present"),
    "ibmgmt": _command("IBMGMT", "ibstat"),
    "imgarchive": _command("IMAGE_ARCHIVE", "imgextract"),
    "imgcrypt": _command("IMAGE_CRYPT", "imgdecrypt", bios=False, efi=False),
    "imgmem": _command("IMAGE_MEM", "imgmem", bios=False, efi=False),
    "imgtrust": _command("IMAGE_TRUST", "imgtrust imgverify", bios=False, efi=False),
    "ipstat": _command("IPSTAT", "ipstat", bios=False, efi=False),
    "iwmgmt": _command("IWMGMT", "iwstat iwlist"),
    "login": _command("LOGIN", "login"),
    "lotest": _command("LOTEST", "lotest", bios=False, efi=False),
    "menu": _command("MENU", "menu item choose"),
    "neighbour": _command("NEIGHBOUR", "nstat", bios=False, efi=False),
    "nslookup": _command("NSLOOKUP", "nslookup", bios=False, efi=False),
    "ntp": _command("NTP", "ntp", bios=False),
    "param": _command("PARAM", "params param", bios=False),
    "pci": _command("PCI", "pciscan", bios=False),
    "ping": _command("PING", "ping", bios=False, efi=False),
    "poweroff": _command("POWEROFF", "poweroff"),
    "profstat": _command("PROFSTAT", "profstat", bios=False, efi=False),
    "pxe": _command("PXE", "startpxe stoppxe", bios=False, efi=False),
    "route": _command("ROUTE", "route"),
    "shim": _command("SHIM", "shim"),
    "sync": _command("SYNC", "sync"),
    "time": _command("TIME", "time", bios=False, efi=False),
    "usb": _command("USB", "usbscan", bios=False),
    "vlan": _command("VLAN", "vcreate vdestroy", bios=False),
}

PROTOCOLS = {
    "aoe": Feature("SANBOOT_PROTO_AOE", True, True),
    "fcoe": Feature("NET_PROTO_FCOE", False, False),
    "fcp": Feature("SANBOOT_PROTO_FCP", True, True),
    "file": Feature("DOWNLOAD_PROTO_FILE", False, True),
    "ftp": Feature("DOWNLOAD_PROTO_FTP", False, False),
    "https": Feature("DOWNLOAD_PROTO_HTTPS", False, True),
    "http-san": Feature("SANBOOT_PROTO_HTTP", True, True),
    "ib-srp": Feature("SANBOOT_PROTO_IB_SRP", True, True),
    "ipv6": Feature("NET_PROTO_IPV6", False, True),
    "iscsi": Feature("SANBOOT_PROTO_ISCSI", True, True),
    "lacp": Feature("NET_PROTO_LACP", True, True),
    "lldp": Feature("NET_PROTO_LLDP", False, True),
    "nfs": Feature("DOWNLOAD_PROTO_NFS", False, False),
    "slam": Feature("DOWNLOAD_PROTO_SLAM", False, False),
    "stp": Feature("NET_PROTO_STP", True, True),
    "tftp": Feature("DOWNLOAD_PROTO_TFTP", True, True),
}

# In every build: core/exec.c, image/script.c, hci/shell.c, and what rackctl's scripts cannot do without.
ALWAYS = frozenset(
    " ".join(
        (
            "echo exit isset iseq sleep goto prompt shell help dhcp pxebs ifopen ifclose ifstat ifconf iflinkwait",
            "imgfetch module initrd imgselect imgload kernel imgexec chain boot imgargs imgstat imgfree",
            "show set clear read inc sanhook sanboot sanunhook reboot",
        )
    ).split(" ")
)


def feature_name(word: str, table: Mapping[str, Feature]) -> str | None:
    """The table's name for `word`: itself, or that of the feature that has it as a command, such as imgverify."""
    if word in table:
        return word
    return next((name for name, one in table.items() if word in one.commands), None)


def built_commands(changes: Mapping[str, bool], platform: str) -> frozenset[str]:
    """The commands of a binary for `bios` or `efi`; changes: names of COMMANDS that rack.yml turns on or off."""
    found = set(ALWAYS)
    for name, one in COMMANDS.items():
        if changes.get(name, one.bios if platform == "bios" else one.efi):
            found |= set(one.commands)
    return frozenset(found)
