"""The copy comparison module: initially without effect, it learns which of two equal regions was pasted."""

import pytest
import torch
from torch.nn import functional as F

from boxpromptiml.core.records import InputError
from stage2_distill.model.copy_comparison import CopyComparison
from stage2_distill.model.self_similarity import CELL, SelfSimilarity
from stage2_distill.model.student import Student, WeightsError

SHAPE = {"backbone": "mobilenetv3_small_050", "pretrained": False, "channels": 16, "prototypes": 4, "image_size": 64}
SIDE, SQUARE = 192, 48
"""Side lengths of the photos and of the copied squares in pixels."""


def pairs(seed, count=6):
    """Noise photos with a copied square, logits of a seam around the copy only, and masks of copy and source."""
    generator = torch.Generator().manual_seed(seed)
    photos = torch.rand(count, 3, SIDE, SIDE, generator=generator)
    logits, source, copy = (torch.zeros(count, 1, SIDE // CELL, SIDE // CELL) for _ in range(3))
    for i in range(count):
        corners = [(16, 16), (16, 120), (120, 24), (112, 120)]
        (y, x), (below, right) = (corners[k] for k in torch.randperm(4, generator=generator)[:2].tolist())
        square = photos[i, :, y : y + SQUARE, x : x + SQUARE].clone()
        photos[i, :, below : below + SQUARE, right : right + SQUARE] = square
        for place, (top, left) in ((source, (y, x)), (copy, (below, right))):
            place[i, :, top // CELL : (top + SQUARE) // CELL, left // CELL : (left + SQUARE) // CELL] = 1
    seam = copy - F.avg_pool2d(copy, 5, 1, 2).ge(0.999).float()
    return photos, logits + 2 * seam, source, copy


def test_it_learns_which_region_was_pasted():
    torch.manual_seed(0)
    similarity, comparison = SelfSimilarity(4), CopyComparison(2)
    optimizer = torch.optim.AdamW(comparison.parameters(), 1e-2)
    for step in range(20):
        photos, logits, _, copy = pairs(step)
        corrected = logits + comparison(
            logits, torch.zeros(len(photos), 2, *logits.shape[-2:]), similarity.evidence(photos)
        )
        loss = F.binary_cross_entropy_with_logits(corrected, copy)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    photos, logits, source, copy = pairs(1000)
    with torch.no_grad():
        comparison.eval()
        corrected = logits + comparison(
            logits, torch.zeros(len(photos), 2, *logits.shape[-2:]), similarity.evidence(photos)
        )
    inside = F.avg_pool2d(copy, 7, 1, 3).ge(0.999)  # where the logits are zero
    inside_source = F.avg_pool2d(source, 7, 1, 3).ge(0.999)
    assert logits[inside].abs().max() == 0
    assert corrected[inside].mean() > corrected[inside_source].mean() + 1


def test_adding_it_to_a_trained_student_changes_nothing_at_first(tmp_path):
    torch.manual_seed(0)
    earlier = Student(**SHAPE, displacements=4)
    path = tmp_path / "earlier.ckpt"
    torch.save({"student": earlier.arguments, "state_dict": _of_module(earlier)}, path)
    student = Student(**SHAPE, displacements=4, compare_copies=True, weights=str(path))
    photos = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(student.eval()(photos).logits, earlier.eval()(photos).logits)
    student.train()(photos).logits.square().mean().backward()
    assert student.comparison.correction[-1].weight.grad.abs().max() > 0


def test_weights_with_it_are_refused_by_a_student_without_it(tmp_path):
    earlier = Student(**SHAPE, displacements=4, compare_copies=True)
    path = tmp_path / "earlier.ckpt"
    torch.save({"student": earlier.arguments, "state_dict": _of_module(earlier)}, path)
    with pytest.raises(WeightsError, match="compare_copies"):
        Student(**SHAPE, displacements=4, weights=str(path))


@pytest.mark.parametrize("side", [64, 72, 50])
def test_any_photo_size_and_fusion_grid_work(side):
    student = Student(**SHAPE, displacements=4, compare_copies=True, fusion_stride=8).eval()
    assert student(torch.rand(1, 3, side, side)).logits.shape == (1, 1, side, side)


def test_it_requires_displacements():
    with pytest.raises(InputError, match="displacements"):
        Student(**SHAPE, compare_copies=True)


def _of_module(student):
    return {f"student.{name}": value for name, value in student.state_dict().items()}
