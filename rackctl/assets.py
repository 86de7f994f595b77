"""Where the files beside the code lie: in a checkout at its top, in a wheel under rackctl/_assets."""

from __future__ import annotations

from pathlib import Path

from rackctl.errors import RackError

_PACKAGE = Path(__file__).resolve().parent


def find_asset(name: str) -> Path:
    """Path of `compose/...`, `ipxe-build/...` or `www/...`.

    Raises RackError when the installation lacks it.
    """
    for base in (_PACKAGE / "_assets", _PACKAGE.parent):
        if (base / name).exists():
            return base / name
    raise RackError(
        f"this installation lacks {name}",
        where=str(_PACKAGE),
        remedy="install rackctl again: pipx install --force rackctl",
    )
