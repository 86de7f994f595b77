"""DHCP, where several adapters meet: which loaders there are, who answers on the wire."""

from __future__ import annotations

from rackctl.adapters import ipxe
from rackctl.adapters.folder import RackFolder
from rackctl.core.dhcp.advice import Loaders
from rackctl.core.model import Rack
from rackctl.core.targets import needed_targets
from rackctl.supply import CACHE


def known_loaders(folder: RackFolder, rack: Rack) -> Loaders:
    """The loaders that are served now, else those that `rackctl up` will make."""
    if served := folder.loaders():
        return Loaders(served, f"tree {folder.served_id()}, which is served now")
    lane, names = ipxe.plan_files(CACHE, rack.ipxe, needed_targets(rack))
    return Loaders(names, f"the {lane} lane, which rackctl up will build: nothing is served yet")
