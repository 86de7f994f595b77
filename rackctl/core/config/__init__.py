"""Core. Machine configuration: what a machine is told after it booted."""
