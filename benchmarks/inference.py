"""The student's latency compared with classification backbones of its size and common segmentation networks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import timm
import torch
from table import QUICK, seconds_each, write_table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.segmentation import fcn_resnet50

from stage2_distill.model.student import Student, count_parameters

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
THREADS = int(os.environ.get("THREADS", os.cpu_count() or 1))
SIZE = 64 if QUICK else 224
BATCHES = (1, 2) if QUICK else (1, 64)
TURNS = 1 if QUICK else 15 if GPU else 5
CPU_TURNS = 2
"""Number of turns for the larger batch on a CPU, which takes up to a minute."""
BACKBONES = ("tiny_vit_5m_224", "mobilenetv3_large_100", "efficientnet_b0")
STUDENT = "the student (TinyViT-5M)"


class SegFormerSized(nn.Module):
    """PVTv2-B2 with SegFormer's MLP head (Xie et al., 2021), whose B2 encoder is of the same family."""

    def __init__(self, channels: int = 768) -> None:
        super().__init__()
        self.encoder = timm.create_model("pvt_v2_b2", features_only=True)
        widths: list[int] = self.encoder.feature_info.channels()  # type: ignore[operator, union-attr]
        self.project = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        mix = nn.Conv2d(4 * channels, channels, 1, bias=False)
        self.fuse = nn.Sequential(mix, nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, 1, H, W)."""
        features = self.encoder(image)
        size = features[0].shape[-2:]
        projected = [project(feature) for project, feature in zip(self.project, features, strict=True)]
        logits = self.fuse(torch.cat([F.interpolate(feature, size, mode="bilinear") for feature in projected], 1))
        return F.interpolate(logits, image.shape[-2:], mode="bilinear")


def main() -> None:
    """Time a single image and a full batch with every network, alternating between them."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    networks = {name: network.eval().to(DEVICE) for name, network in _networks().items()}
    seconds = {batch: _seconds(networks, batch) for batch in BATCHES}
    rows = []
    for name, network in networks.items():
        row: list[Any] = [name, f"{count_parameters(network) / 1e6:.1f}", f"{_macs(network) / 1e9:.2f}"]
        for of_batch in seconds.values():
            row += [1000 * of_batch[name], of_batch[name] / of_batch[STUDENT]]
        rows.append(row)
    columns = ["network", "parameters, M", "GMACs"]
    for batch in BATCHES:
        columns += [f"batch {batch}, ms", "× student"]
    write_table(
        "inference",
        f"Inference at {SIZE} pixels on {'a GPU' if GPU else f'a CPU, threads: {THREADS}'}",
        columns,
        rows,
        f"Milliseconds a batch, fp32, random weights, channels last, the fastest of {TURNS} turns"
        f"{'' if GPU else f', of {CPU_TURNS} for the larger batch,'} in which all networks take part. A backbone for "
        "classification answers with 1,000 numbers, the others with a mask at the input's size. SegFormer-B2-sized: "
        "PVTv2-B2 under SegFormer's MLP head of 768 channels. Multiply-accumulates are counted by PyTorch at batch 1. "
        f"Settings: THREADS={THREADS}. Load of the machine at the end: {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores.",
    )


def _networks() -> dict[str, nn.Module]:
    backbones = {f"{name}, classification": timm.create_model(name, num_classes=1000) for name in BACKBONES}
    return {
        STUDENT: Student(pretrained=False, image_size=SIZE),
        **{name: network.to(memory_format=torch.channels_last) for name, network in backbones.items()},
        "SegFormer-B2-sized": SegFormerSized().to(memory_format=torch.channels_last),
        "FCN with ResNet-50": fcn_resnet50(weights=None, weights_backbone=None, num_classes=1).to(
            memory_format=torch.channels_last
        ),
    }


def _seconds(networks: Mapping[str, nn.Module], batch: int) -> dict[str, float]:
    image = torch.rand(batch, 3, SIZE, SIZE, device=DEVICE).contiguous(memory_format=torch.channels_last)
    repeats = 1 if QUICK or (batch > 1 and not GPU) else 10

    def through(network: nn.Module) -> None:
        with torch.inference_mode():
            for _ in range(repeats):
                network(image)
        if GPU:
            torch.cuda.synchronize()

    for network in networks.values():
        with torch.inference_mode():
            network(image if GPU else image[:1])  # warm-up
    turns = TURNS if batch == 1 or GPU else CPU_TURNS
    ways = {name: lambda network=network: through(network) for name, network in networks.items()}
    return {name: taken / repeats for name, taken in seconds_each(ways, turns, min).items()}


def _macs(network: nn.Module) -> int:
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # counts attention
        network(torch.zeros(1, 3, SIZE, SIZE, device=DEVICE))
    return counter.get_total_flops() // 2


if __name__ == "__main__":
    main()
