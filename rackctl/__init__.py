"""rackctl: from bare metal to a running cluster node."""

__version__ = "0.1.0"
