"""The network of `BoxSegmenter`: which pixels of a crop belong to what its box holds."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

BACKBONE = "tf_efficientnet_lite0"
STAGES = 5
"""Stages of the backbone that are used; the last one has stride 16."""
KEPT = {0: 16, 1: 24, 2: 40, 4: 112}
"""Stage → channels of the features that the decoder gets; their strides are 2, 4, 8 and 16."""
PLACE = 3
"""Channels of `place`."""


class BoxNetwork(nn.Module):
    """A U-Net with one million weights that knows at every stride where the box is (ours).

    Args:
        pretrained: start from ImageNet weights, which timm loads from its hub.
        widths: channels of the decoder at strides 16, 8 and 4.
    """

    def __init__(self, pretrained: bool = False, widths: tuple[int, int, int] = (112, 64, 40)) -> None:
        super().__init__()
        backbone: Any = timm.create_model(BACKBONE, pretrained=pretrained)
        self.stem: nn.Module = backbone.conv_stem
        self.bn1: nn.Module = backbone.bn1
        self.blocks: nn.Sequential = backbone.blocks[:STAGES]
        deep, middle, fine = widths
        self.enter = _convolution(KEPT[4] + PLACE, deep, 1)
        self.context = nn.Sequential(_Block(deep), _Block(deep, 2), _Block(deep), _Block(deep, 2))
        self.pool = nn.Linear(2 * deep, deep)
        self.stride8 = nn.Sequential(_convolution(deep + KEPT[2] + PLACE, middle, 1), _convolution(middle, middle))
        self.stride4 = nn.Sequential(_convolution(middle + KEPT[1] + PLACE, fine, 1), _convolution(fine, fine))
        self.out = nn.Conv2d(fine, 1, 1)

    def forward(self, crops: Tensor, boxes_xyxy: Tensor) -> Tensor:
        """Segment crops.

        Args:
            crops: (B, 3, S, S) RGB in [0, 1]; S is a multiple of 16.
            boxes_xyxy: (B, 4) the box in each crop, in shares of its sides.

        Returns:
            Logits (B, 1, S, S).
        """
        _, at4, at8, at16 = self._features(crops)
        deep = self.context(self.enter(torch.cat([at16, place(boxes_xyxy, at16)], 1)))
        inside = (place(boxes_xyxy, at16)[:, 2:] > 0).to(deep.dtype)
        means = torch.cat([_mean(deep, inside), _mean(deep, 1 - inside)], 1)
        deep = deep + self.pool(means)[..., None, None]
        middle = self.stride8(torch.cat([_doubled(deep), at8, place(boxes_xyxy, at8)], 1))
        fine = self.stride4(torch.cat([_doubled(middle), at4, place(boxes_xyxy, at4)], 1))
        return F.interpolate(self.out(fine).float(), scale_factor=4, mode="bilinear", align_corners=False)

    def _features(self, crops: Tensor) -> list[Tensor]:
        features, found = self.bn1(self.stem(crops * 2 - 1)), []
        for index, stage in enumerate(self.blocks):
            features = stage(features)
            if index in KEPT:
                found.append(features)
        return found


class _Block(nn.Module):
    """Residual: depthwise 5 × 5, then two pointwise convolutions."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 5, padding=2 * dilation, dilation=dilation, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, 2 * channels, 1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU6(),
            nn.Conv2d(2 * channels, channels, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.layers(features)


def place(boxes_xyxy: Tensor, like: Tensor) -> Tensor:
    """Describe the place of each pixel relative to the box.

    Args:
        boxes_xyxy: (B, 4) boxes in shares of the grid's sides.
        like: (B, C, H, W) features, which give the grid.

    Returns:
        (B, 3, H, W): x and y, from -1 to 1 across the box and at most 1.5 beyond it; and the distance to the nearest
        side in half sides of the box, positive inside.
    """
    height, width = like.shape[-2:]
    x = (torch.arange(width, device=like.device) + 0.5) / width
    y = (torch.arange(height, device=like.device) + 0.5) / height
    x1, y1, x2, y2 = boxes_xyxy.T[..., None]
    across = ((2 * x - x1 - x2) / (x2 - x1)).clamp(-1.5, 1.5)[:, None, :].expand(-1, height, -1)
    down = ((2 * y - y1 - y2) / (y2 - y1)).clamp(-1.5, 1.5)[:, :, None].expand(-1, -1, width)
    return torch.stack([across, down, 1 - torch.maximum(across.abs(), down.abs())], 1)


def _convolution(channels: int, out: int, side: int = 3) -> nn.Sequential:
    layers = nn.Conv2d(channels, out, side, padding=side // 2, bias=False), nn.BatchNorm2d(out), nn.ReLU6()
    return nn.Sequential(*layers)


def _doubled(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


def _mean(features: Tensor, weights: Tensor) -> Tensor:
    return (features * weights).sum((2, 3)) / weights.sum((2, 3)).clamp(min=1)
