"""Losses against hand-computed cases."""

import math

import pytest
import torch

from boxpromptiml.core.records import InputError
from stage2_distill.losses.box_prior import outside_per_image, tightness_per_image
from stage2_distill.losses.distillation import DistillationLoss, bce_per_image, dice_per_image, focal_per_image


@pytest.fixture
def batch():
    """Logits, targets and boxes of three images, the last of them authentic."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 16, 16, generator=generator)
    target, box_mask = torch.zeros(3, 1, 16, 16), torch.zeros(3, 1, 16, 16)
    box_mask[:2, :, 3:12, 4:14] = 1
    target[:2, :, 4:11, 5:12] = torch.rand(2, 1, 7, 7, generator=generator)
    return logits, target, box_mask


def test_bce_matches_a_hand_computed_case():
    logits = torch.tensor([0.0, math.log(3)]).view(1, 1, 1, 2)
    target = torch.tensor([1.0, 0.25]).view(1, 1, 1, 2)
    soft = -0.25 * math.log(0.75) - 0.75 * math.log(0.25)
    assert bce_per_image(logits, target).item() == pytest.approx((math.log(2) + soft) / 2)


def test_dice_matches_a_hand_computed_case_and_its_limits():
    target = torch.zeros(1, 1, 2, 2)
    target[..., 0, :] = 1
    half = dice_per_image(torch.zeros(1, 1, 2, 2), target)
    assert half.item() == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))
    assert dice_per_image(100 * (2 * target - 1), target).item() == pytest.approx(0, abs=1e-6)
    logits = torch.tensor([-100.0, 100.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    assert dice_per_image(logits, torch.zeros(2, 1, 2, 2)).tolist() == [0, 0]  # authentic images have no region


def test_focal_matches_a_hand_computed_case():
    logits = torch.tensor([0.0, math.log(3)]).view(1, 1, 1, 2)
    target = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    expected = (0.5**2 * math.log(2) + 0.75**2 * math.log(4)) / 2
    assert focal_per_image(logits, target).item() == pytest.approx(expected)
    torch.testing.assert_close(focal_per_image(logits, target, gamma=0), bce_per_image(logits, target))


def test_weights_select_which_images_count(batch):
    logits, target, box_mask = batch
    loss = DistillationLoss(bce=1.0, dice=0.5)
    weight = torch.tensor([1.0, 0.0, 3.0])
    each = bce_per_image(logits, target) + 0.5 * dice_per_image(logits, target)
    assert loss(logits, target, weight, box_mask).item() == pytest.approx(
        ((each[0] + 3 * each[2]) / 4).item(), rel=1e-5
    )
    assert loss(logits, target, torch.zeros(3), box_mask).item() == 0


def test_the_default_is_exactly_plain_bce(batch):
    logits, target, box_mask = batch
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    plain = DistillationLoss()(logits, target, torch.ones(3), box_mask)
    assert torch.equal(plain, expected.mean((1, 2, 3)).sum() / 3)


@pytest.mark.parametrize(
    ("name", "term"),
    [
        ("dice", dice_per_image),
        ("focal", lambda logits, target: focal_per_image(logits, target, 1.5)),
        ("outside", None),
        ("tightness", None),
    ],
)
def test_each_term_is_added_with_its_weight(batch, name, term):
    logits, target, box_mask = batch
    boxed = {"outside": outside_per_image, "tightness": lambda *given: tightness_per_image(*given, 0.25)}
    each = term(logits, target) if term else boxed[name](logits, box_mask)
    with_term = DistillationLoss(bce=2.0, focal_gamma=1.5, tightness_margin=0.25, **{name: 0.3})
    expected = (2 * bce_per_image(logits, target) + 0.3 * each).mean()
    torch.testing.assert_close(with_term(logits, target, torch.ones(3), box_mask), expected)


def test_on_an_authentic_image_every_term_lowers_every_pixel_or_is_zero(batch):
    _, target, box_mask = (tensor[2:] for tensor in batch)
    for name in ("bce", "dice", "focal", "outside", "tightness"):
        logits = torch.full((1, 1, 16, 16), 2.0, requires_grad=True)
        weights = {"bce": 0.0} | {name: 1.0}
        DistillationLoss(**weights)(logits, target, torch.ones(1), box_mask).backward()
        assert (logits.grad == 0).all() if name in ("dice", "tightness") else (logits.grad > 0).all()


def test_a_margin_without_remaining_lines_is_refused():
    with pytest.raises(InputError, match=r"tightness_margin is 0.5; use a share from 0 to below 0.5"):
        DistillationLoss(tightness_margin=0.5)
