"""The self-similarity branch: where a photo agrees with itself at another place, as it does after a copy-move.

A seam says that something was pasted; only a comparison of the photo with itself says that it was copied (ours).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 32
"""Channels of the branch's features."""
CELL = 4
"""Side in pixels of the cells that agreement is averaged over."""
NEAREST = 0.05
"""Shortest displacement looked at, as a share of the side: every photo resembles itself a few pixels away."""
PEAK = 5
"""Side in pixels of the neighbourhood in which only the highest echo counts."""
WINDOWS = (3, 9)
"""Sides, in cells, of the windows in which agreement is measured."""
LEAST_CONTRAST = 0.01
"""Contrast, for values in [0, 1], below which texture counts as noise."""
LEAST_POWER = 0.01
"""Added to the power spectrum before its logarithm, as a share of its mean."""
LEAST_ENERGY = 0.1
"""Added to the energy of two windows before their product is divided by it, so that flat areas do not agree."""
EVIDENCE = 4


class Evidence(NamedTuple):
    """What is measured at K displacements.

    Attributes:
        rows: (B, K) int64, displacements downwards in pixels, in [0, H).
        columns: (B, K) int64, displacements to the right in pixels, in [0, W / 2].
        maps: (B, K, `EVIDENCE`, H / `CELL`, W / `CELL`): agreement in the two `WINDOWS`, in [-1, 1]; the texture's
            energy; the height of the echo in standard deviations, divided by 10.
        ahead: (B, K, H / `CELL`, W / `CELL`) bool, True where the place that agrees better lies at the displacement,
            False where it lies opposite.
    """

    rows: Tensor
    columns: Tensor
    maps: Tensor
    ahead: Tensor


class SelfSimilarity(nn.Module):
    """Compares a photo with itself at the displacements of its strongest echoes, and learns which to believe.

    A copy moved by d adds the ripple cos(2π f·d) to the photo's power spectrum, so the spectrum of the spectrum's
    logarithm (the power cepstrum of Bogert, Healy and Tukey, 1963) has a peak at d. The logarithm is what tells a copy
    from a texture that repeats itself: texture is a few strong frequencies, a copy is a ripple over all of them. At
    each of the K highest peaks, normalised cross-correlation says where photo and displaced photo agree; a small
    network shared by all displacements turns that into features, of which the largest and the mean over displacements
    are kept.

    Nothing before that network is learned. Discrete Fourier transforms are products with cosines and sines, which
    ONNX Runtime computes faster than its own transform.

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
        """Features (B, `WIDTH`, H / 8, W / 8), rounded down, of an `Evidence`'s maps."""
        judged = self.judge(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
        return self.features(torch.cat([judged.amax(1), judged.mean(1)], 1))

    @torch.no_grad()
    def evidence(self, image: Tensor) -> Evidence:
        """Agreement of images (B, 3, H, W) in [0, 1] with themselves; always in 32 bits."""
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
    """Band-passed grey values (B, 1, H, W) at equal contrast everywhere: mean 0, variance 1 where there is texture.

    Args:
        grey: (B, 1, H, W) in [0, 1].
        fine: side of the window that finer detail is averaged over; 1 keeps all of it.
        coarse: side of the window whose mean is taken away.
    """
    band = (grey if fine == 1 else window_mean(grey, fine)) - window_mean(grey, coarse)
    return band / torch.sqrt(window_mean(band * band, 9) + LEAST_CONTRAST**2)


def cepstrum(values: Tensor) -> Tensor:
    """Power cepstrum of (B, 1, H, W): (B, H, W // 2 + 1), for displacements ``[rows, columns]``, rows cyclic.

    It is symmetric about 0, so displacements to the left are not needed.
    """
    height, width = values.shape[-2:]
    row_cos, row_sin = _waves(height, height, height, values)
    half = width // 2 + 1
    column_cos, column_sin = _waves(width, half, width, values)
    real, imaginary = values[:, 0] @ column_cos, values[:, 0] @ column_sin
    real, imaginary = row_cos @ real - row_sin @ imaginary, row_cos @ imaginary + row_sin @ real
    power = real**2 + imaginary**2
    logarithm = torch.log(power / power.mean((1, 2), keepdim=True).clamp(min=1e-9) + LEAST_POWER)
    twice = torch.full((half,), 2.0, device=values.device)  # for the half of the columns that mirrors this one
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    logarithm = (logarithm - logarithm.mean((1, 2), keepdim=True)) * twice
    back_cos, back_sin = column_cos[:half], column_sin[:half]  # symmetric: cos(2π k d / W) for k and d up to W / 2
    return (row_cos @ (logarithm @ back_cos) - row_sin @ (logarithm @ back_sin)) / (height * width) ** 0.5


def highest(echoes: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The highest peaks of a cepstrum (B, H, W // 2 + 1) that are not too near to displacement 0.

    Returns:
        (B, count) heights in standard deviations of the cepstrum; (B, count) rows; (B, count) columns.
    """
    height, half = echoes.shape[-2:]
    row = torch.arange(height, device=echoes.device)[:, None]
    column = torch.arange(half, device=echoes.device)[None]
    far = (torch.minimum(row, height - row) / height) ** 2 + (column / (2 * half - 2)) ** 2 > NEAREST**2
    far &= (column > 0) | (row <= height // 2)  # straight upwards is straight downwards
    spread = torch.sqrt((echoes**2 * far).mean((1, 2), keepdim=True)).clamp(min=1e-9)
    padded = F.pad(echoes[:, None], (PEAK // 2,) * 4, value=-1e9)
    peak = echoes >= F.max_pool2d(padded, PEAK, 1)[:, 0]
    candidates = torch.where(peak & far, echoes / spread, torch.zeros_like(echoes))
    heights, index = candidates.flatten(1).topk(count)
    return heights, index // half, index % half


def displace(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(B, C, H, W) moved up and left by (B, K) displacements, cyclically: (B, K, H, W), for C = 1 or C = K."""
    batch, _, height, width = values.shape
    count = rows.shape[1]
    row = (torch.arange(height, device=values.device) + rows[..., None]) % height
    column = (torch.arange(width, device=values.device) + columns[..., None]) % width
    index = (row[..., :, None] * width + column[..., None, :]).flatten(2)
    return values.flatten(2).expand(batch, count, -1).gather(2, index).unflatten(2, (height, width))


def agreement(products: Tensor, energy: Tensor, rows: Tensor, columns: Tensor, window: int) -> Tensor:
    """Normalised cross-correlation of a photo with its displaced self: (B, K, h, w) in [-1, 1].

    It is high where a place agrees with the one at +d; displaced by -d, where a place agrees with the one at -d.

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
    """Mean of (B, C, H, W) over square windows with an odd side, by columns and then by rows; (B, C, H, W)."""
    padded = F.pad(values, (side // 2,) * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(padded, (side, 1), 1), (1, side), 1)


def _waves(rows: int, columns: int, period: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and −sin of 2π r c / period, (rows, columns)."""
    row, column = (torch.arange(n, device=like.device) for n in (rows, columns))
    angle = (row[:, None] * column[None] % period) * (2 * torch.pi / period)
    return torch.cos(angle), -torch.sin(angle)
