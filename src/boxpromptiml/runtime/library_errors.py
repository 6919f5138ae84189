"""One-line messages for errors caused by the user or the machine, whichever library raises them."""

from __future__ import annotations

import errno

from boxpromptiml.core.records import InputError

REMEDIES = {
    "lightning.fabric.utilities.exceptions.MisconfigurationException": "correct the config or the options",
    "omegaconf.errors.OmegaConfBaseException": "correct the config",
    "torch.OutOfMemoryError": "use a smaller batch size, or see --help for what else needs memory",
    "builtins.MemoryError": "use a smaller batch size, or fewer workers",
    "wandb.errors.errors.Error": "correct the logger, or set WANDB_MODE=offline and send it later with `wandb sync`",
}
"""Qualified name of an exception → remedy. Names avoid importing the libraries just to compare types."""
MACHINE = {
    errno.ENOSPC: "free space, then run the same command again",
    errno.EDQUOT: "free space, then run the same command again",
    errno.EROFS: "choose a writable folder",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or use fewer workers",
}
"""errno of an OSError without a file name → remedy."""


def user_error_message(error: Exception) -> str | None:
    """Return the message for an error that the user can fix; None for a bug of ours, which keeps its traceback."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):  # a full disk, a read-only folder, a missing file
        if error.filename is not None:
            return f"{error.filename}: {error.strerror}; make it available, then run the same command again"
        return f"{error.strerror}; {MACHINE[error.errno]}" if error.errno in MACHINE else None
    names = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
    remedy = next((REMEDIES[name] for name in names if name in REMEDIES), None)
    words = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return None if remedy is None else f"{words}; {remedy}"
