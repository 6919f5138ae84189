"""What a user asks of the machine, where the machine may not have it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from boxpromptiml.records import InputError


@contextmanager
def existing_devices(accelerator: object, devices: object = 1) -> Iterator[None]:
    """Around the making of a Fabric or a Trainer, whose errors of six types become one line.

    Raises:
        InputError: this machine has no such accelerator, or fewer of its devices.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    try:
        yield
    except InputError:
        raise
    except (ImportError, RuntimeError, TypeError, ValueError, MisconfigurationException) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise InputError(
            f"accelerator {accelerator}, devices {devices}: not on this machine ({reason}); name the accelerator cpu, "
            "or auto for what is here"
        ) from None
