"""Core. Which services a rack runs; each has a folder of its name under compose/."""

from __future__ import annotations

from rackctl.core.model import Rack

ALWAYS = ("tftp", "microhttp")


def services_of(rack: Rack) -> tuple[str, ...]:
    """Names of the compose services."""
    return ALWAYS + (("bsdp",) if rack.mac.bsdp else ()) + (("status",) if rack.status else ())
