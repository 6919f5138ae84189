"""The shape prior: what a map of a manipulated region looks like, learned from maps alone."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stage2_distill.model.fusion import conv_block

STRIDE = 4
"""Of the grid on which maps are corrected, in pixels of the input."""
SCALES = 3
"""Halvings of that grid; at the coarsest, a cell covers 32 pixels."""
WIDTH = 16
"""Channels at every scale."""
HIDDEN = 16
"""Width of the network that sees a map as a whole."""
LEVELS = (-5.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""Logits at which a map is summarised."""
LEAST_AREA = 1e-3
"""Added to areas before their logarithm is taken."""
SCALE = 4.0
"""Divisor that brings logits and logarithms close to [-2, 2]."""


class ShapePrior(nn.Module):
    """A correction of the student's finished map that sees nothing but this map.

    Two parts learn together. One reads the map as a whole, by `statistics`, and scales and shifts all its logits: a
    clear find calls for a higher threshold than a faint one. The other, a small U-Net, knows the shapes of manipulated
    regions: it fills holes and removes specks. The module starts as the identity, so adding it to a trained student
    loses nothing. It sees no photo, so it needs little data and does not depend on what was photographed (ours; a
    denoising autoencoder for segmentation maps: Larrazabal et al., Post-DAE, MICCAI 2019).
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
        """Corrected logits (B, 1, H, W), of logits of that shape."""
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
    """What a map (B, 1, h, w) says as a whole: (B, 2 L + 1) numbers for the L `LEVELS`.

    They are, for each level, the logarithm of the share of the map above it, and the F1 to be expected of marking that
    share if all probabilities were true, 2 Σ p[p > t] / (|p > t| + Σ p); and the highest logit.
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
