"""Detection of a Weights & Biases account, without importing wandb, network access or a prompt."""

from __future__ import annotations

import os
from netrc import NetrcParseError, netrc
from urllib.parse import urlsplit

MACHINES = ("api.wandb.ai", "api.forge.coreweave.com")
"""Hosts under which `wandb login` stores the key in the netrc file, depending on the version of wandb."""


def has_account() -> bool:
    """Return whether the environment or the netrc file has a key, for the host in WANDB_BASE_URL if that is set."""
    if os.environ.keys() & {"WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"}:
        return True
    base_url = os.environ.get("WANDB_BASE_URL")
    machines = (urlsplit(base_url).netloc,) if base_url else MACHINES
    try:
        known = netrc(os.environ.get("NETRC"))
    except (OSError, NetrcParseError):
        return False
    return any(known.authenticators(machine) for machine in machines)
