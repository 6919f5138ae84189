"""Shape prior: correcting the predicted map by what maps of manipulated regions look like."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stage2_distill.model.fusion import conv_block

STRIDE = 4
"""Stride of the grid on which maps are corrected, in pixels of the input."""
SCALES = 3
"""Number of times that grid is halved; a cell of the coarsest grid covers 32 pixels."""
WIDTH = 16
"""Number of channels at every scale."""
HIDDEN = 16
"""Hidden width of the network that scales and shifts a map as a whole."""
LEVELS = (-5.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""Thresholds, as logits, at which a map is summarized."""
LEAST_AREA = 1e-3
"""Added to areas before taking their logarithm."""
SCALE = 4.0
"""Divisor that brings logits and logarithms to about [-2, 2]."""


class ShapePrior(nn.Module):
    """Refinement of the student's predicted map, whose only input is that map.

    Two parts are trained together. The first scales and shifts all logits by `statistics` of the whole map: a confident
    detection needs a higher threshold than a faint one. The second is a small U-Net that learns the shapes of
    manipulated regions; it fills holes and removes specks. The module is initialized to the identity, so that it can be
    added to a trained student without changing its predictions. Because it does not see the photo, it can be trained on
    little data without overfitting to the photos (ours; similar to denoising autoencoders for segmentation maps,
    Larrazabal et al., Post-DAE, MICCAI 2019).
    """

    def __init__(self) -> None:
        super().__init__()
        self.entry = conv_block(2, WIDTH)
        self.down = nn.ModuleList(conv_block(WIDTH, WIDTH) for _ in range(SCALES))
        self.up = nn.ModuleList(conv_block(2 * WIDTH, WIDTH) for _ in range(SCALES))
        self.change = nn.Conv2d(WIDTH, 1, 1)
        self.whole = nn.Sequential(nn.Linear(2 * len(LEVELS) + 1, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 2 + WIDTH))
        for last in (self.change, cast(nn.Linear, self.whole[-1])):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(cast(Tensor, last.bias))

    def forward(self, logits: Tensor) -> Tensor:
        """Compute corrected logits (B, 1, H, W) from logits of the same shape."""
        coarse = F.avg_pool2d(logits.float(), STRIDE, ceil_mode=True)
        scale, shift, context = self.whole(statistics(coarse))[..., None, None].split([1, 1, WIDTH], 1)
        features = [self.entry(torch.cat([coarse / SCALE, torch.sigmoid(coarse)], 1))]
        for block in self.down:
            features.append(block(F.avg_pool2d(features[-1], 2, ceil_mode=True)))
        corrected = features.pop() + context
        for block in self.up:
            finer = features.pop()
            corrected = block(torch.cat([_resize(corrected, finer), finer], 1))
        return logits * torch.exp(scale / 2) + 2 * shift + _resize(self.change(corrected), logits)


def statistics(logits: Tensor) -> Tensor:
    """Summarise maps of logits (B, 1, h, w) by (B, 2 L + 1) numbers, where L is the number of `LEVELS`.

    For each level t: the logarithm of the share of the map above t, and the expected F1 of marking that share if the
    probabilities p were calibrated, 2 Σ p[p > t] / (|p > t| + Σ p). The last number is the highest logit.
    """
    levels = torch.tensor(LEVELS, device=logits.device).view(-1, 1, 1)
    probability = torch.sigmoid(logits)
    above = (logits > levels).float()
    area = above.mean((2, 3))
    found = (above * probability).mean((2, 3))
    expected_f1 = 2 * found / (area + probability.mean((2, 3)) + 1e-6)
    return torch.cat([torch.log(area + LEAST_AREA) / SCALE, expected_f1, logits.amax((2, 3)) / SCALE], 1)


def _resize(values: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(values, like.shape[-2:], mode="bilinear", align_corners=False)
