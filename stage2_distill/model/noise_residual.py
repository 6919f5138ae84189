"""The forensic branch: noise residuals, obtained by suppressing the image content with high-pass filters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 32
"""Number of the branch's channels, small to keep the student within its budget."""
SRM = (
    ((0, 0, 0, 0, 0), (0, -1, 2, -1, 0), (0, 2, -4, 2, 0), (0, -1, 2, -1, 0), (0, 0, 0, 0, 0)),
    ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2), (-1, 2, -2, 2, -1)),
    ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 1, -2, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
)
"""The three spatial-rich-model filters used by RGB-N (Zhou et al., CVPR 2018), not yet scaled."""


class NoiseResidual(nn.Module):
    """Learned high-pass filters per colour channel, and features of their magnitudes, at stride 8.

    The filters are initialized with `SRM` and always sum to zero, so they cannot respond to brightness: the constraint
    of Bayar and Stamm (2018) without its division, which diverges when a filter's sum passes zero. The features
    are log(1 + |residual|) in grey levels, because noise levels differ by factors. Both changes are ours.

    Args:
        filters: number per colour channel; beyond three, the SRM filters are repeated with small random differences.
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
        """Map images (B, 3, H, W), RGB in [0, 1], to features (B, `WIDTH`, H / 8, W / 8)."""
        return self.features(torch.log1p(255 * self.residual(image).abs()))

    def residual(self, image: Tensor) -> Tensor:
        """Apply the filters at stride 2, which suffices to measure magnitudes: (B, 3 · filters, H / 2, W / 2)."""
        kernel = self.weight - self.weight.mean((2, 3), keepdim=True)
        padded = F.pad(image, (2, 2, 2, 2), mode="replicate")  # zeros would create an edge around the photo
        return F.conv2d(padded, kernel, stride=2, groups=3)
