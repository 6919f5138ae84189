"""The forensic branch: what remains of a photo after its content is predicted from its neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 32
"""Channels of the branch's features, few so that the whole student stays inside its budget."""
SRM = (
    ((0, 0, 0, 0, 0), (0, -1, 2, -1, 0), (0, 2, -4, 2, 0), (0, -1, 2, -1, 0), (0, 0, 0, 0, 0)),
    ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2), (-1, 2, -2, 2, -1)),
    ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 1, -2, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
)
"""The three filters of the spatial rich model that RGB-N sees noise with (Zhou et al., CVPR 2018), not yet scaled."""


class NoiseResidual(nn.Module):
    """Learned high-pass filters on each colour, and the level of what they let through, at stride 8.

    The filters start from `SRM` and always sum to zero, so no training can make them see brightness: the constraint of
    Bayar and Stamm (2018) without its division, which explodes where a filter's sum passes zero. Magnitudes are taken
    as log(1 + grey levels), since noise differs by factors (both ours).

    Args:
        filters: for each colour; beyond three the SRM's repeat, and drift apart from small random differences.
    """

    def __init__(self, filters: int) -> None:
        super().__init__()
        srm = torch.tensor(SRM, dtype=torch.float32)
        srm = srm / srm.abs().amax((1, 2), keepdim=True)
        start = srm[torch.arange(3 * filters) % len(srm)][:, None]
        self.weight = nn.Parameter(start + 0.01 * torch.randn_like(start))
        self.features = nn.Sequential(
            nn.Conv2d(3 * filters, WIDTH, 4, stride=4, bias=False), nn.BatchNorm2d(WIDTH), nn.GELU()
        )

    def forward(self, image: Tensor) -> Tensor:
        """Features (B, `WIDTH`, H / 8, W / 8) of images (B, 3, H, W), RGB in [0, 1]."""
        return self.features(torch.log1p(255 * self.residual(image).abs()))

    def residual(self, image: Tensor) -> Tensor:
        """What the filters let through, (B, 3 · filters, H / 2, W / 2): every second pixel is enough for a level."""
        kernel = self.weight - self.weight.mean((2, 3), keepdim=True)
        padded = F.pad(image, (2, 2, 2, 2), mode="replicate")  # zeros would be an edge around the photo
        return F.conv2d(padded, kernel, stride=2, groups=3)
