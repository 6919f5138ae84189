"""Is there an account at Weights & Biases? Answered without importing it, without network and without asking."""

from __future__ import annotations

import os
from netrc import NetrcParseError, netrc
from urllib.parse import urlsplit

MACHINES = ("api.wandb.ai", "api.forge.coreweave.com")
"""Names under which `wandb login` notes the key in the netrc file; which one depends on the version of wandb."""


def has_account() -> bool:
    """Whether the environment or the netrc file holds a key; for a server of one's own, that of WANDB_BASE_URL."""
    if os.environ.keys() & {"WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"}:
        return True
    base_url = os.environ.get("WANDB_BASE_URL")
    machines = (urlsplit(base_url).netloc,) if base_url else MACHINES
    try:
        known = netrc(os.environ.get("NETRC"))
    except (OSError, NetrcParseError):
        return False
    return any(known.authenticators(machine) for machine in machines)
