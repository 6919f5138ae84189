"""Self-correction: late in training, detached predictions of the student replace part of the target inside boxes."""

import pytest
import torch

from boxpromptiml.core.records import InputError
from stage2_distill.losses.distillation import bce_per_image
from stage2_distill.losses.self_correction import SelfCorrection, corrected_target


def test_the_share_rises_from_its_start_to_the_last_step():
    correction = SelfCorrection(start=0.5, share=0.4)
    assert [correction.share_at(progress) for progress in (0, 0.5, 0.75, 1)] == pytest.approx([0, 0, 0.2, 0.4])
    assert {SelfCorrection().share_at(progress) for progress in (0, 0.5, 1)} == {0}


@pytest.mark.parametrize("wrong", [{"start": -0.1}, {"share": 1.5}])
def test_values_outside_zero_to_one_are_refused(wrong):
    with pytest.raises(InputError, match=rf"correction.{next(iter(wrong))} is"):
        SelfCorrection(**wrong)


def test_the_target_is_mixed_only_inside_boxes():
    target = torch.tensor([[1.0, 0.0, 0.6, 0.3]]).view(1, 1, 1, 4)
    logits = torch.tensor([[-1.0, 2.0, 2.0, 2.0]]).view(1, 1, 1, 4)
    box_mask = torch.tensor([[1.0, 1.0, 1.0, 0.0]]).view(1, 1, 1, 4)
    mixed = corrected_target(target, logits, box_mask, 0.25)
    assert mixed.flatten().tolist() == pytest.approx([0.75, 0.25, 0.7, 0.3])
    assert corrected_target(target, logits, box_mask, 0.0) is target


def test_the_prediction_in_the_target_is_detached_but_changes_the_gradient():
    logits = torch.tensor([0.5]).view(1, 1, 1, 1).requires_grad_()
    target, box_mask = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    mixed = corrected_target(target, logits, box_mask, 0.8)
    assert not mixed.requires_grad
    (gradient,) = torch.autograd.grad(bce_per_image(logits, mixed).sum(), logits)
    assert gradient.item() == pytest.approx(torch.sigmoid(torch.tensor(0.5)).item() - 0.8)
    assert gradient < 0  # towards the student's prediction and away from the teacher's
