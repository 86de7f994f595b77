"""Adapter: downloads into the store. Nothing enters the store under its name before its sha256 is known and checked."""

from rackctl.adapters.fetch.rancheros import fetch_rancheros, parse_checksums
from rackctl.adapters.fetch.store import Artifact, Store
from rackctl.adapters.fetch.transfer import fetch_file

__all__ = ["Artifact", "Store", "fetch_file", "fetch_rancheros", "parse_checksums"]
