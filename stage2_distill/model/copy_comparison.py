"""Copy comparison: deciding which of two matching places in a photo was pasted.

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
"""Number of displacements used, those with the highest cepstrum peaks."""
REACH = 11
"""Side of the averaging window for cues, in blocks of 2 × 2 cells; large enough for the seam around a region."""
CUES = 4
"""Number of maps compared between the two places: the student's logits and three learned ones."""
WIDTH = 12
"""Number of channels of the features of a pair of places."""
LEAST_AGREEMENT = 1e-3
"""Added to the correlation before division, so that places without a match have no cues."""


class CopyComparison(nn.Module):
    """Correction of the student's logits where the photo matches itself at a displacement.

    At each of the strongest displacements, cues are averaged over the matching surroundings of a place and compared
    with those of the other place. A small network, shared by all displacements, processes the pair. Its outputs and the
    fused features are combined into a correction of the logits. The correction is initialized to 0, so that the module
    can be added to a trained student without changing its predictions.

    Args:
        channels: C of the fused features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cues = nn.Conv2d(channels, CUES - 1, 1)
        self.context = nn.Conv2d(channels, 16, 1)
        self.judge = nn.Sequential(conv_block(EVIDENCE + 2 * CUES, WIDTH), conv_block(WIDTH, WIDTH))
        last = nn.Conv2d(24, 1, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(cast(Tensor, last.bias))
        self.correction = nn.Sequential(conv_block(2 * WIDTH + 16 + 1, 24), last)

    def forward(self, logits: Tensor, fused: Tensor, evidence: Evidence) -> Tensor:
        """Compute the correction to be added to the logits: (B, 1, H / `CELL`, W / `CELL`).

        Args:
            logits: (B, 1, h, w), the student's.
            fused: (B, C, h, w) features.
            evidence: measurements on the photos (B, 3, H, W).
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
