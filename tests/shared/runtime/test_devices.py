import lightning as L
import pytest
import torch

from boxpromptiml.core.records import InputError
from boxpromptiml.runtime.devices import OneProcess, existing_devices, launched, trains_in_bf16


@pytest.mark.parametrize(("accelerator", "devices"), [("abacus", 1), ("cpu", 0), ("cpu", "many")])
def test_a_device_that_the_machine_lacks_is_named_in_one_line(accelerator, devices):
    words = f"accelerator {accelerator}, devices {devices}: not available on this machine"
    with pytest.raises(InputError, match=words) as error, existing_devices(accelerator, devices):
        L.Fabric(accelerator=accelerator, devices=devices)
    assert "\n" not in str(error.value)


def test_an_available_device_works_and_other_errors_pass_through():
    with existing_devices("cpu"):
        assert L.Fabric(accelerator="cpu", devices=1).device.type == "cpu"
    with pytest.raises(InputError, match=r"^ours$"), existing_devices("cpu"):
        raise InputError("ours")


def test_one_process_on_the_cpu_equals_lightnings_fabric():
    ours, theirs = launched("cpu", 1, 1), L.Fabric(accelerator="cpu", devices=1)
    assert isinstance(ours, OneProcess)
    assert ours.barrier() is None
    for attribute in ("device", "global_rank", "world_size", "is_global_zero"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)


def test_lightning_handles_accelerators_and_unknown_names(monkeypatch):
    with pytest.raises(InputError, match="abacus"):
        launched("abacus", 1, 1)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert isinstance(launched("auto", 1, 1), L.Fabric)


@pytest.mark.parametrize(
    ("accelerator", "capabilities", "fast"),
    [
        ("cpu", {"avx512_bf16": True, "amx_bf16": False}, True),
        ("cpu", {"avx512_bf16": False, "amx_bf16": False}, False),
        ("cpu", {"bf16": True}, True),
        ("cpu", {}, True),
        ("gpu", {"avx512_bf16": False}, True),
    ],
)
def test_bf16_is_used_only_on_processors_that_support_it(accelerator, capabilities, fast, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert trains_in_bf16(accelerator) == fast


def test_automatic_choice_without_an_accelerator_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False}, raising=False)
    for there in (False, True):
        monkeypatch.setattr(torch.accelerator, "is_available", lambda there=there: there)
        assert trains_in_bf16("auto") == there
