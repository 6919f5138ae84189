"""Losses against hand-computed cases."""

import math

import pytest
import torch

from stage2_distill.loss import DistillationLoss, bce_per_image, dice_per_image


def test_bce_by_hand():
    logits = torch.tensor([0.0, math.log(3)]).view(1, 1, 1, 2)
    target = torch.tensor([1.0, 0.25]).view(1, 1, 1, 2)
    soft = -0.25 * math.log(0.75) - 0.75 * math.log(0.25)
    assert bce_per_image(logits, target).item() == pytest.approx((math.log(2) + soft) / 2)


def test_dice_by_hand_and_at_its_ends():
    target = torch.zeros(1, 1, 2, 2)
    target[..., 0, :] = 1
    half = dice_per_image(torch.zeros(1, 1, 2, 2), target)
    assert half.item() == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))
    assert dice_per_image(100 * (2 * target - 1), target).item() == pytest.approx(0, abs=1e-6)
    assert dice_per_image(torch.full((1, 1, 2, 2), -100.0), torch.zeros(1, 1, 2, 2)).item() == pytest.approx(0)


def test_weights_choose_which_images_count():
    logits, target = torch.randn(3, 1, 4, 4), torch.rand(3, 1, 4, 4)
    loss = DistillationLoss(bce=1.0, dice=0.5)
    weight = torch.tensor([1.0, 0.0, 3.0])
    each = bce_per_image(logits, target) + 0.5 * dice_per_image(logits, target)
    assert loss(logits, target, weight).item() == pytest.approx(((each[0] + 3 * each[2]) / 4).item(), rel=1e-5)
    assert loss(logits, target, torch.zeros(3)).item() == 0


def test_plain_bce_is_the_default():
    logits, target = torch.randn(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
    assert DistillationLoss()(logits, target, torch.ones(2)).item() == pytest.approx(expected.item(), rel=1e-5)
