"""Adapter: the secrets that rack.yml names, from secrets/ beside it, the environment, or a prompt."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from rackctl.errors import ConfigError

_ENVIRONMENT = ("RACKCTL_BMC_PASSWORD", "IPMI_PASSWORD")  # the second is ipmitool's own
_DEFAULT_FILE = "secrets/bmc"

Ask = Callable[[str], str]


class Secrets:
    """ask: prompts for a secret without showing it; None where nobody can answer. Each prompt is asked once."""

    def __init__(self, folder: Path, ask: Ask | None) -> None:
        self.folder = folder
        self.ask = ask
        self.answers: dict[str, str] = {}

    def find(self, reference: str | None, prompt: str) -> str:
        """The secret behind `secrets/FILE`, `env:NAME` or `prompt`; None: secrets/bmc, the environment, the prompt.

        Raises ConfigError that never holds the secret.
        """
        if reference is None:
            for name in _ENVIRONMENT:
                if os.environ.get(name):
                    return os.environ[name]
            return self._file(_DEFAULT_FILE) if (self.folder / _DEFAULT_FILE).exists() else self._prompt(prompt)
        if reference == "prompt":
            return self._prompt(prompt)
        if reference.startswith("env:"):
            if value := os.environ.get(reference[4:]):
                return value
            raise ConfigError(f"{reference[4:]} is not set in the environment", remedy="export it, then run again")
        return self._file(reference)

    def _prompt(self, prompt: str) -> str:
        if prompt not in self.answers:
            if self.ask is None:
                raise ConfigError(
                    "there is no password, and nobody to ask", remedy=f"write it to {_DEFAULT_FILE} (mode 600)"
                )
            self.answers[prompt] = self.ask(prompt)
        return self.answers[prompt]

    def _file(self, reference: str) -> str:
        file = self.folder / reference
        try:
            text, mode = file.read_text(), file.stat().st_mode
        except (OSError, UnicodeDecodeError) as wrong:
            reason = getattr(wrong, "strerror", None) or "it is not plain text"
            raise ConfigError(
                f"{reference} cannot be read: {reason}", remedy=f"write the password to {file}"
            ) from wrong
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            raise ConfigError(f"{reference} can be read by everybody", remedy=f"chmod 600 {file}")
        secret = text.removesuffix("\n").removesuffix("\r")
        if not secret:
            raise ConfigError(f"{reference} is empty", remedy=f"write the password to {file}")
        return secret
