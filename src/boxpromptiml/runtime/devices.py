"""Requested devices and precision, checked against what the machine has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boxpromptiml.core.records import InputError

if TYPE_CHECKING:
    import torch
    from lightning.fabric import Fabric

BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
"""Names that torch gives to bfloat16 instructions on x86 and ARM."""
ABOUT_DEVICES = re.compile(r"accelerator|devices?\b|cuda|gpu|mps|tpu|xla|process", re.IGNORECASE)
"""Matches errors of Lightning and torch about devices; other errors concern other options."""


@dataclass(frozen=True, slots=True)
class OneProcess:
    """Replacement for Lightning's `Fabric` in a single process on the CPU; importing Lightning takes seconds."""

    device: torch.device
    global_rank: int = 0
    world_size: int = 1
    is_global_zero: bool = True

    def barrier(self) -> None:
        """Do nothing: there is no other process to wait for."""


def launched(accelerator: str, devices: int, num_nodes: int) -> Fabric | OneProcess:
    """Start the processes that share a job.

    Args:
        accelerator: cpu, gpu, or auto.
        devices: processes on this machine.
        num_nodes: machines.

    Raises:
        InputError: see `existing_devices`.
    """
    import torch

    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
    if on_cpu and devices == num_nodes == 1:
        return OneProcess(torch.device("cpu"))

    from lightning.fabric import Fabric

    with existing_devices(accelerator, devices):
        fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes)
    fabric.launch()
    return fabric


@contextmanager
def existing_devices(accelerator: object, devices: object = 1) -> Iterator[None]:
    """Turn the errors that creating a Fabric or a Trainer can raise into an `InputError`.

    Raises:
        InputError: this machine lacks the accelerator or has fewer devices, or another option is invalid.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    try:
        yield
    except InputError:
        raise
    except (ImportError, RuntimeError, TypeError, ValueError, MisconfigurationException) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        if not ABOUT_DEVICES.search(reason):
            raise InputError(f"{reason}; correct the config or the options") from None
        raise InputError(
            f"accelerator {accelerator}, devices {devices}: not available on this machine ({reason}); use the "
            "accelerator cpu or auto"
        ) from None


def trains_in_bf16(accelerator: object) -> bool:
    """Return whether bfloat16 is fast on the device that a Trainer would use; CPUs without instructions emulate it.

    Emulated depthwise convolutions take over ten times as long as 32-bit ones. If torch does not know the CPU's
    capabilities, the result is True.

    Args:
        accelerator: as passed to a Trainer: ``auto``, ``cpu``, ``gpu``, or an accelerator object.
    """
    import torch

    if accelerator != "cpu" and (accelerator != "auto" or torch.accelerator.is_available()):
        return True
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    known = [bool(capabilities[name]) for name in BF16_INSTRUCTIONS if name in capabilities]
    return any(known) or not known
