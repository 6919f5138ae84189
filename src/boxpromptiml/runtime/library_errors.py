"""Errors that a user's mistake or the machine causes, as one plain line, whichever library meets them first."""

from __future__ import annotations

import errno

from boxpromptiml.core.records import InputError

REMEDIES = {
    "lightning.fabric.utilities.exceptions.MisconfigurationException": "correct the config or the options",
    "omegaconf.errors.OmegaConfBaseException": "correct the config",
    "torch.OutOfMemoryError": "name a smaller batch size, or --help for what else costs memory",
    "builtins.MemoryError": "name a smaller batch size, or fewer workers",
    "wandb.errors.errors.Error": "correct the logger, or set WANDB_MODE=offline and send it later with `wandb sync`",
}
"""Full name of an error → what to do next. Named, so that no library is imported to look for its errors."""
MACHINE = {
    errno.ENOSPC: "free space, then run the same command again",
    errno.EDQUOT: "free space, then run the same command again",
    errno.EROFS: "name a folder that can be written to",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or name fewer workers",
}
"""Number of an error of the operating system that names no file → what to do next."""


def plain_line(error: Exception) -> str | None:
    """What to tell of an error that is the user's to mend; None for a defect of the program, whose traceback stays."""
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
