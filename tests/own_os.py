"""The least that a catalogue entry of a user's own has."""

MINIMAL = """\
title: My OS
about: Mine
homepage: https://example.org/
default: "1"
index: {kind: fixed, version: "1"}
artifacts: [{name: vmlinuz, role: kernel, url: "https://example.org/{version}/vmlinuz"}]
"""
