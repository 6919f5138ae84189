"""The self-similarity branch: where a photo matches itself at a displacement, as after a copy-move.

A seam shows that something was pasted; only comparing the photo with itself shows that it was copied (ours).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 32
"""Number of the branch's channels."""
CELL = 4
"""Side in pixels of the cells over which the cross-correlation is averaged."""
NEAREST = 0.05
"""Smallest displacement, as a fraction of the side: every photo is similar to itself a few pixels away."""
PEAK = 5
"""Side in pixels of the neighbourhood for non-maximum suppression of cepstrum peaks."""
WINDOWS = (3, 9)
"""Sides, in cells, of the windows for the normalized cross-correlation."""
LEAST_CONTRAST = 0.01
"""Contrast, for values in [0, 1], below which texture is treated as noise."""
LEAST_POWER = 0.01
"""Added to the power spectrum before the logarithm, relative to its mean."""
LEAST_ENERGY = 0.1
"""Added to the denominator of the normalized cross-correlation, so that flat areas do not match."""
EVIDENCE = 4


class Evidence(NamedTuple):
    """Measurements at K displacements.

    Attributes:
        rows: (B, K) int64, vertical displacements in pixels, in [0, H).
        columns: (B, K) int64, horizontal displacements in pixels, in [0, W / 2].
        maps: (B, K, `EVIDENCE`, H / `CELL`, W / `CELL`): normalized cross-correlation in the two `WINDOWS`, in [-1, 1];
            energy of the texture; height of the cepstrum peak in standard deviations, divided by 10.
        ahead: (B, K, H / `CELL`, W / `CELL`) bool, True if the better match lies at the displacement, False if it lies
            at its negative.
    """

    rows: Tensor
    columns: Tensor
    maps: Tensor
    ahead: Tensor


class SelfSimilarity(nn.Module):
    """Compares a photo with itself at the displacements of the strongest cepstrum peaks, and learns which to trust.

    A copy displaced by d modulates the photo's power spectrum by cos(2π f·d), so the spectrum of the spectrum's
    logarithm (the power cepstrum of Bogert, Healy and Tukey, 1963) has a peak at d. The logarithm distinguishes a copy
    from periodic texture: periodic texture has a few strong frequencies, a copy modulates all of them. At each of the K
    highest peaks, normalized cross-correlation measures where the photo matches its displaced version; a small network,
    shared by all displacements, turns this into features, of which the maximum and the mean over displacements are
    used.

    Nothing before that network is learned. Discrete Fourier transforms are implemented as products with cosine and sine
    matrices, which ONNX Runtime computes faster than its own transform.

    Args:
        displacements: K.
    """

    def __init__(self, displacements: int) -> None:
        super().__init__()
        self.displacements = displacements
        self.judge = nn.Sequential(
            nn.Conv2d(EVIDENCE, 16, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.GELU(),
        )
        self.features = nn.Sequential(nn.Conv2d(32, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.GELU())

    def forward(self, maps: Tensor) -> Tensor:
        """Map the maps of an `Evidence` to features (B, `WIDTH`, H / 8, W / 8), rounded down."""
        judged = self.judge(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
        return self.features(torch.cat([judged.amax(1), judged.mean(1)], 1))

    @torch.no_grad()
    def evidence(self, image: Tensor) -> Evidence:
        """Compare images (B, 3, H, W) in [0, 1] with themselves; always in 32 bits."""
        with torch.autocast(image.device.type, enabled=False):
            grey = image.float().mean(1, keepdim=True)
            echoes = cepstrum(texture(grey, 1, 7))
            heights, rows, columns = highest(echoes, self.displacements)
            band = texture(grey, 3, 9)
            displaced = displace(band, rows, columns)
            products = F.avg_pool2d(band * displaced, CELL)
            energy = F.avg_pool2d(band * band, CELL)
            over, across = (torch.round(shift / CELL).long() for shift in (rows, columns))
            forth = [agreement(products, energy, over, across, window) for window in WINDOWS]
            back = [displace(agreeing, -over, -across) for agreeing in forth]
            maps = [torch.maximum(one, other) for one, other in zip(forth, back, strict=True)]
            maps += [energy.expand_as(products), heights[..., None, None].expand_as(products) / 10]
        return Evidence(rows, columns, torch.stack(maps, 2), forth[-1] >= back[-1])


def texture(grey: Tensor, fine: int, coarse: int) -> Tensor:
    """Band-pass filter grey values (B, 1, H, W) and normalize local contrast: mean 0, variance 1 in textured areas.

    Args:
        grey: (B, 1, H, W) in [0, 1].
        fine: side of the averaging window that removes finer detail; 1 keeps all of it.
        coarse: side of the window whose mean is subtracted.
    """
    band = (grey if fine == 1 else window_mean(grey, fine)) - window_mean(grey, coarse)
    return band / torch.sqrt(window_mean(band * band, 9) + LEAST_CONTRAST**2)


def cepstrum(values: Tensor) -> Tensor:
    """Compute the power cepstrum of (B, 1, H, W) at displacements ``[rows, columns]``, rows cyclic: (B, H, W // 2 + 1).

    It is point-symmetric, so displacements to the left are omitted.
    """
    height, width = values.shape[-2:]
    row_cos, row_sin = _waves(height, height, height, values)
    half = width // 2 + 1
    column_cos, column_sin = _waves(width, half, width, values)
    real, imaginary = values[:, 0] @ column_cos, values[:, 0] @ column_sin
    real, imaginary = row_cos @ real - row_sin @ imaginary, row_cos @ imaginary + row_sin @ real
    power = real**2 + imaginary**2
    logarithm = torch.log(power / power.mean((1, 2), keepdim=True).clamp(min=1e-9) + LEAST_POWER)
    twice = torch.full((half,), 2.0, device=values.device)  # weights of columns that also stand for their mirror column
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    logarithm = (logarithm - logarithm.mean((1, 2), keepdim=True)) * twice
    back_cos, back_sin = column_cos[:half], column_sin[:half]  # symmetric: cos(2π k d / W) for k and d up to W / 2
    return (row_cos @ (logarithm @ back_cos) - row_sin @ (logarithm @ back_sin)) / (height * width) ** 0.5


def highest(echoes: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Find the highest peaks of a cepstrum (B, H, W // 2 + 1), excluding the neighbourhood of displacement 0.

    Returns:
        (B, count) heights in standard deviations of the cepstrum; (B, count) rows; (B, count) columns.
    """
    height, half = echoes.shape[-2:]
    row = torch.arange(height, device=echoes.device)[:, None]
    column = torch.arange(half, device=echoes.device)[None]
    far = (torch.minimum(row, height - row) / height) ** 2 + (column / (2 * half - 2)) ** 2 > NEAREST**2
    far &= (column > 0) | (row <= height // 2)  # by symmetry, upward displacements equal downward ones
    spread = torch.sqrt((echoes**2 * far).mean((1, 2), keepdim=True)).clamp(min=1e-9)
    padded = F.pad(echoes[:, None], (PEAK // 2,) * 4, value=-1e9)
    peak = echoes >= F.max_pool2d(padded, PEAK, 1)[:, 0]
    candidates = torch.where(peak & far, echoes / spread, torch.zeros_like(echoes))
    heights, index = candidates.flatten(1).topk(count)
    return heights, index // half, index % half


def displace(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Shift (B, C, H, W) cyclically up and left by (B, K) displacements: (B, K, H, W), for C = 1 or C = K."""
    batch, _, height, width = values.shape
    count = rows.shape[1]
    row = (torch.arange(height, device=values.device) + rows[..., None]) % height
    column = (torch.arange(width, device=values.device) + columns[..., None]) % width
    index = (row[..., :, None] * width + column[..., None, :]).flatten(2)
    return values.flatten(2).expand(batch, count, -1).gather(2, index).unflatten(2, (height, width))


def agreement(products: Tensor, energy: Tensor, rows: Tensor, columns: Tensor, window: int) -> Tensor:
    """Normalized cross-correlation of a photo with its displaced version: (B, K, h, w) in [-1, 1].

    Position x has a high value if it matches x + d. Displacing the result by -d gives the match of x with x - d.

    Args:
        products: (B, K, h, w) mean product of both in each cell.
        energy: (B, 1, h, w) mean square in each cell.
        rows: (B, K) displacements in cells.
        columns: (B, K) displacements in cells.
        window: side in cells.
    """
    both, own = window_mean(products, window), window_mean(energy, window)
    return both / (torch.sqrt(own * displace(own, rows, columns)) + LEAST_ENERGY)


def window_mean(values: Tensor, side: int) -> Tensor:
    """Mean of (B, C, H, W) over square windows with an odd side, computed separably; (B, C, H, W)."""
    padded = F.pad(values, (side // 2,) * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(padded, (side, 1), 1), (1, side), 1)


def _waves(rows: int, columns: int, period: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return cos and −sin of 2π r c / period, (rows, columns)."""
    row, column = (torch.arange(n, device=like.device) for n in (rows, columns))
    angle = (row[:, None] * column[None] % period) * (2 * torch.pi / period)
    return torch.cos(angle), -torch.sin(angle)
