"""The copy comparison: of two places of a photo that agree, which one was pasted?

Self-similarity marks both places alike. Only the pasted one has a seam around it (ours).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stage2_distill.model.fusion import conv_block
from stage2_distill.model.self_similarity import CELL, EVIDENCE, Evidence, displace, window_mean

STRONGEST = 4
"""Displacements looked at, those of the highest echoes."""
REACH = 11
"""Side, in pairs of cells, of the window over which cues are averaged: a seam runs around a region, not through it."""
CUES = 4
"""Maps compared between the two places: the student's logits and three learned ones."""
WIDTH = 12
"""Channels of what is learned about a pair of places."""
LEAST_AGREEMENT = 1e-3
"""Added to the agreement that cues are divided by, so that places that agree with no other have no cue."""


class CopyComparison(nn.Module):
    """A correction of the student's logits where the photo agrees with itself.

    At each of the strongest displacements, cues are averaged over the surroundings that agree, and set beside the same
    averages at the other place. A small network shared by all displacements judges the pair. Its answers, joined with
    the fused features, become a correction of the logits. The correction starts at 0, so that a trained student can
    be given this module without losing anything.

    Args:
        channels: C of the fused features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cues = nn.Conv2d(channels, CUES - 1, 1)
        self.context = nn.Conv2d(channels, 16, 1)
        self.judge = nn.Sequential(conv_block(EVIDENCE + 2 * CUES, WIDTH), conv_block(WIDTH, WIDTH))
        answer = nn.Conv2d(24, 1, 1)
        nn.init.zeros_(answer.weight)
        nn.init.zeros_(cast(Tensor, answer.bias))
        self.correction = nn.Sequential(conv_block(2 * WIDTH + 16 + 1, 24), answer)

    def forward(self, logits: Tensor, fused: Tensor, evidence: Evidence) -> Tensor:
        """What to add to the logits: (B, 1, H / `CELL`, W / `CELL`).

        Args:
            logits: (B, 1, h, w), the student's, before the sigmoid.
            fused: (B, C, h, w) features.
            evidence: of the photo (B, 3, H, W) that they come from.
        """
        size = evidence.maps.shape[-2:]
        if logits.shape[-2:] != size:
            logits, fused = (
                F.interpolate(values, size, mode="bilinear", align_corners=False) for values in (logits, fused)
            )
        maps = evidence.maps[:, :STRONGEST]
        cues = F.avg_pool2d(torch.cat([logits, self.cues(fused)], 1).float(), 2)
        over, across = (torch.round(shift[:, :STRONGEST] / (2 * CELL)).long() for shift in evidence[:2])
        agreeing = F.avg_pool2d(maps[:, :, 1], 2).clamp(min=0) ** 2
        nearby = window_mean(agreeing, REACH) + LEAST_AGREEMENT
        ahead = F.interpolate(evidence.ahead[:, :STRONGEST].float(), cues.shape[-2:], mode="nearest") > 0
        pairs = []
        for cue in cues.split(1, 1):
            here = window_mean(agreeing * cue, REACH) / nearby
            pairs += [here, torch.where(ahead, displace(here, over, across), displace(here, -over, -across))]
        compared = F.interpolate(torch.stack(pairs, 2).flatten(1, 2), size, mode="bilinear", align_corners=False)
        judged = self.judge(torch.cat([maps, compared.unflatten(1, (-1, 2 * CUES))], 2).flatten(0, 1))
        judged = judged.unflatten(0, maps.shape[:2])
        joined = torch.cat([judged.amax(1), judged.mean(1), self.context(fused), logits], 1)
        return self.correction(joined)
