"""Core. The `ipxe:` section as iPXE's own configuration: the headers of src/config/local."""

from __future__ import annotations

from rackctl.core.ipxe.features import COMMANDS, PROTOCOLS
from rackctl.core.ipxe.settings import IpxeSettings


def render_headers(settings: IpxeSettings) -> dict[str, str]:
    """File name -> content; none for a plain iPXE. They are read after upstream's own lines and so win over them."""
    general = [_switch(COMMANDS[name].macro, on) for name, on in sorted(settings.command_changes.items())]
    general += [_switch(PROTOCOLS[name].macro, on) for name, on in sorted(settings.protocol_changes.items())]
    console, serial = [], []
    if settings.console.serial:
        console.append(_switch("CONSOLE_SERIAL", True))
        # SERIAL_SPCR would take port and speed from an ACPI table that some firmware fills in wrongly: what rack.yml
        # says counts. arm64 has no COM ports, and that table alone.
        serial = [
            "#if defined ( __i386__ ) || defined ( __x86_64__ )",
            "#undef SERIAL_SPCR",
            _switch("SERIAL_FIXED", True),  # without either, iPXE does not link
            *_define("COMCONSOLE", settings.console.serial),
            *_define("COMSPEED", str(settings.console.speed)),
            "#endif",
        ]
    if settings.console.framebuffer is not None:
        console.append(_switch("CONSOLE_FRAMEBUFFER", settings.console.framebuffer))
    named = {"general.h": general, "console.h": console, "serial.h": serial}
    return {name: "\n".join(lines) + "\n" for name, lines in named.items() if lines}


def _switch(macro: str, on: bool) -> str:
    # Undefined first: a second #define of a macro that upstream has on would be a warning, which iPXE's build refuses.
    return f"#undef {macro}" + (f"\n#define {macro}" if on else "")


def _define(macro: str, value: str) -> tuple[str, str]:
    return f"#undef {macro}", f"#define {macro} {value}"
