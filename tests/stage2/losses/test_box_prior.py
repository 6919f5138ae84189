"""Box terms against hand-computed cases and a loop over boxes; their gradients have the right sign and place."""

import math

import numpy as np
import pytest
import torch

from boxpromptiml.core import boxes
from stage2_distill.losses.box_prior import outside_per_image, tightness_per_image

LOG2 = math.log(2)


def mask_of(*boxes_xyxy, size=20):
    return torch.from_numpy(boxes.rasterize(np.array(boxes_xyxy, np.float32), size, size)).float()[None, None]


def slow_tightness(logits, boxes_xyxy, margin):
    """Reference implementation of the tightness term for one image: a loop over boxes and lines."""
    size, misses = logits.shape[-1], []
    for x1, y1, x2, y2 in boxes_xyxy:
        if min(x1, y1) == 0 or max(x2, y2) == size:
            continue
        inside = logits[0, 0, y1:y2, x1:x2].double().sigmoid()
        for lines in (inside, inside.T):
            depth = (torch.arange(len(lines)) + 0.5) / len(lines)
            kept = lines[torch.minimum(depth, 1 - depth) >= margin]
            misses += (-kept.amax(1).log()).tolist()
    return sum(misses) / max(1, len(misses))


def test_the_outside_term_matches_a_hand_computed_case():
    box_mask = mask_of((0, 0, 20, 10))
    logits = torch.zeros(1, 1, 20, 20)
    assert outside_per_image(logits, box_mask).item() == pytest.approx(LOG2)
    logits[..., :10, :] = 50  # logits inside a box do not count
    assert outside_per_image(logits, box_mask).item() == pytest.approx(LOG2)
    logits[..., 10:, :] = math.log(3)
    assert outside_per_image(logits, box_mask).item() == pytest.approx(math.log(4))


def test_the_outside_term_covers_all_of_an_authentic_image_and_nothing_of_a_full_image_box():
    logits = torch.zeros(2, 1, 4, 4)
    box_mask = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])
    assert outside_per_image(logits, box_mask).tolist() == pytest.approx([LOG2, 0])


@pytest.mark.parametrize("margin", [0.0, 0.15, 0.3])
def test_the_tightness_term_equals_a_loop_over_boxes(margin):
    generator = torch.Generator().manual_seed(0)
    cases = [
        [(3, 4, 12, 9)],
        [(1, 1, 8, 6), (10, 2, 19, 5), (2, 9, 9, 18)],  # side by side and one above the other
        [(0, 3, 9, 12), (11, 3, 18, 12)],  # the first touches the border
        [(0, 0, 20, 20)],
        [],
    ]
    logits = 3 * torch.randn(len(cases), 1, 20, 20, generator=generator)
    box_mask = torch.cat([mask_of(*case) if case else torch.zeros(1, 1, 20, 20) for case in cases])
    expected = [slow_tightness(one[None], case, margin) for one, case in zip(logits, cases, strict=True)]
    assert tightness_per_image(logits, box_mask, margin).tolist() == pytest.approx(expected, rel=1e-5)
    assert expected[3] == expected[4] == 0


def test_a_region_up_to_the_margin_of_the_box_has_no_tightness_loss():
    box_mask = mask_of((2, 2, 12, 12))
    logits = torch.full((1, 1, 20, 20), -30.0)
    logits[..., 4:10, 4:10] = 30.0  # margin of two of ten pixels at each side
    assert tightness_per_image(logits, box_mask, 0.2).item() == pytest.approx(0, abs=1e-6)
    assert tightness_per_image(logits, box_mask, 0.1).item() > 1


def test_gradients_lower_pixels_outside_and_raise_pixels_inside_boxes():
    box_mask = mask_of((4, 4, 14, 12))
    logits = torch.randn(1, 1, 20, 20, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (outside,) = torch.autograd.grad(outside_per_image(logits, box_mask).sum(), logits)
    assert (outside[box_mask == 0] > 0).all()  # gradient descent lowers every pixel outside
    assert (outside[box_mask == 1] == 0).all()
    (tightness,) = torch.autograd.grad(tightness_per_image(logits, box_mask).sum(), logits)
    assert (tightness <= 0).all()  # gradient descent raises pixels, inside only
    assert (tightness[box_mask == 0] == 0).all()
    raised = (tightness < 0)[0, 0]
    assert raised.any(1)[5:11].all()  # 15 % of eight rows is one row
    assert raised.any(0)[6:12].all()  # 15 % of ten columns is two columns, counted by pixel centres


def test_extreme_logits_keep_gradients_finite():
    box_mask = mask_of((4, 4, 14, 12)).expand(2, 1, 20, 20)
    for level in (-1e4, 1e4):
        logits = torch.full((2, 1, 20, 20), level, dtype=torch.bfloat16, requires_grad=True)
        (outside_per_image(logits, box_mask) + tightness_per_image(logits, box_mask)).sum().backward()
        assert logits.grad.isfinite().all()
