"""Adapter: downloads into the store. Nothing enters the store under its name before its sha256 is known and checked."""

from rackctl.adapters.fetch.release import fetch_release, find_locked
from rackctl.adapters.fetch.resolve import Upstream
from rackctl.adapters.fetch.store import Artifact, Store, hash_file
from rackctl.adapters.fetch.transfer import fetch_file

__all__ = ["Artifact", "Store", "Upstream", "fetch_file", "fetch_release", "find_locked", "hash_file"]
