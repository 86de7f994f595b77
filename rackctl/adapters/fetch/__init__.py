"""Adapter: downloads into the store. Nothing enters the store under its name before its sha256 is known and checked."""

from rackctl.adapters.fetch.rancheros import fetch_rancheros, parse_checksums, resolve_rancheros
from rackctl.adapters.fetch.store import Artifact, Store, hash_file
from rackctl.adapters.fetch.transfer import fetch_file

__all__ = [
    "Artifact",
    "Store",
    "fetch_file",
    "fetch_rancheros",
    "hash_file",
    "parse_checksums",
    "resolve_rancheros",
]
