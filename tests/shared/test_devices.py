import lightning as L
import pytest

from boxpromptiml.devices import existing_devices
from boxpromptiml.records import InputError


@pytest.mark.parametrize(("accelerator", "devices"), [("abacus", 1), ("cpu", 0), ("cpu", "many")])
def test_what_the_machine_has_not_is_one_line_that_names_it(accelerator, devices):
    words = f"accelerator {accelerator}, devices {devices}: not on this machine"
    with pytest.raises(InputError, match=words) as error, existing_devices(accelerator, devices):
        L.Fabric(accelerator=accelerator, devices=devices)
    assert "\n" not in str(error.value)


def test_what_it_has_is_made_and_our_own_errors_pass():
    with existing_devices("cpu"):
        assert L.Fabric(accelerator="cpu", devices=1).device.type == "cpu"
    with pytest.raises(InputError, match=r"^ours$"), existing_devices("cpu"):
        raise InputError("ours")
