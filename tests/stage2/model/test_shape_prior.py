"""The shape prior starts as the identity and learns that regions are whole."""

import pytest
import torch
from torch.nn import functional as F

from stage2_distill.model.shape_prior import LEVELS, ShapePrior, statistics
from stage2_distill.model.student import Student, WeightsError

SHAPE = {"backbone": "mobilenetv3_small_050", "pretrained": False, "channels": 16, "prototypes": 4, "image_size": 64}


def maps(seed, count=8, side=128):
    """Make logits of a square with a hole, with specks around it, and the ground truth: the square without the hole."""
    generator = torch.Generator().manual_seed(seed)
    logits, target = torch.full((count, 1, side, side), -4.0), torch.zeros(count, 1, side, side)
    for i in range(count):
        top, left = torch.randint(8, side - 56, (2,), generator=generator).tolist()
        target[i, :, top : top + 48, left : left + 48] = 1
        for y, x in torch.randint(0, side - 8, (6, 2), generator=generator).tolist():
            logits[i, :, y : y + 8, x : x + 8] = 2
        logits[i, :, top : top + 48, left : left + 48] = 2
        logits[i, :, top + 20 : top + 28, left + 20 : left + 28] = -4
    return logits, target


def test_it_learns_to_remove_specks_and_to_fill_holes():
    torch.manual_seed(0)
    prior = ShapePrior()
    optimizer = torch.optim.AdamW(prior.parameters(), 1e-2)
    for step in range(60):
        logits, target = maps(step)
        loss = F.binary_cross_entropy_with_logits(prior(logits), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    logits, target = maps(1000)
    with torch.no_grad():
        corrected = prior.eval()(logits)
    specks, hole = (logits > 0) & (target == 0), (logits < 0) & (target == 1)
    assert corrected[specks].mean() < 0 < corrected[hole].mean()


def test_adding_it_to_a_trained_student_does_not_change_predictions(tmp_path):
    torch.manual_seed(0)
    earlier = Student(**SHAPE)
    student = Student(**SHAPE, shape_prior=True, weights=_checkpoint(earlier, tmp_path))
    photos = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(student.eval()(photos).logits, earlier.eval()(photos).logits)
    student.train()(photos).logits.square().mean().backward()
    assert student.shape_prior.change.weight.grad.abs().max() > 0
    assert student.shape_prior.whole[-1].weight.grad.abs().max() > 0


def test_the_score_of_an_image_does_not_depend_on_it():
    torch.manual_seed(0)
    student, photos = Student(**SHAPE, shape_prior=True).eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        untrained = student(photos)
        torch.testing.assert_close(untrained.score, torch.sigmoid(untrained.logits.amax((1, 2, 3))))
        student.shape_prior.whole[-1].bias[1] = 3  # shifts every map
        shifted = student(photos)
    assert (shifted.logits - untrained.logits).min() > 5
    torch.testing.assert_close(shifted.score, untrained.score)


def test_a_checkpoint_with_it_needs_a_student_with_it(tmp_path):
    path = _checkpoint(Student(**SHAPE, shape_prior=True), tmp_path)
    with pytest.raises(WeightsError, match="shape_prior"):
        Student(**SHAPE, weights=path)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 91), (5, 130)])
def test_maps_keep_their_size(height, width):
    assert ShapePrior().eval()(torch.randn(2, 1, height, width)).shape == (2, 1, height, width)


def test_statistics_contain_the_expected_f1_at_each_level():
    torch.manual_seed(0)
    logits = 3 * torch.randn(3, 1, 16, 16)
    probability = torch.sigmoid(logits)
    expected = [
        2 * probability[i][logits[i] > level].sum() / ((logits[i] > level).sum() + probability[i].sum())
        for i in range(3)
        for level in LEVELS
    ]
    found = statistics(logits)[:, len(LEVELS) : 2 * len(LEVELS)]
    torch.testing.assert_close(found, torch.stack(expected).view(3, -1), rtol=1e-4, atol=1e-4)


def test_an_empty_and_a_full_map_have_finite_statistics():
    assert statistics(torch.stack([torch.full((1, 8, 8), value) for value in (-30.0, 30.0)])).isfinite().all()


def _checkpoint(student, folder):
    weights = {f"student.{name}": value for name, value in student.state_dict().items()}
    torch.save({"student": student.arguments, "state_dict": weights}, folder / "earlier.ckpt")
    return str(folder / "earlier.ckpt")
