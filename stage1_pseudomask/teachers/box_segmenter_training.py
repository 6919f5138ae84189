"""Training of the box segmenter, on manipulated regions with masks and on objects of photos.

    python -m stage1_pseudomask.teachers.box_segmenter_training --out segmenter.safetensors \\
        --manifests '{lalonde.json: 0.3, misd.json: 0.1, forgeries/manifest.json: 0.4}' \\
        --objects '{coco128: 0.09, ccp: 0.04, humanseg: 0.07}'
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

from boxpromptiml.core.atomic_files import atomic_path
from stage1_pseudomask.teachers.box_network import BoxNetwork
from stage1_pseudomask.teachers.box_segmenter_samples import Region, Sample, drawn, objects_of, regions_of

WARMUP = 150
"""Steps until the learning rate has its peak."""


class Batch(NamedTuple):
    """Crops as the network gets them.

    Attributes:
        crops: (B, 3, SIDE, SIDE) uint8 RGB.
        boxes_xyxy: (B, 4) boxes in shares of the crops' sides.
        masks: (B, SIDE, SIDE) bool, truth.
        counts: (B, SIDE, SIDE) bool, pixels that count.
    """

    crops: Tensor
    boxes_xyxy: Tensor
    masks: Tensor
    counts: Tensor


def train(
    out: Path,
    manifests: dict[Path, float],
    objects: dict[Path, float] | None = None,
    start: Path | None = None,
    pretrained: bool = True,
    steps: int = 3000,
    batch_size: int = 32,
    lr: float = 2e-3,
    backbone_lr_scale: float = 0.15,
    seed: int = 0,
    workers: int = 1,
) -> int:
    """Train the box segmenter and save the moving average of its weights in half precision.

    Args:
        out: safetensors file for the weights.
        manifests: COCO JSON of images with masks, whose train split is used → share of the samples.
        objects: folder with images/ and instances/, as for `boxpromptiml synthesize` → share of the samples.
        start: weights of an earlier run to go on from.
        pretrained: without ``start``, load ImageNet weights from timm's hub; false starts at random.
        steps: number of AdamW steps, with a cosine schedule.
        batch_size: crops per step.
        lr: peak learning rate.
        backbone_lr_scale: learning rate of the backbone divided by that of the decoder.
        seed: random seed for weights, order, boxes and augmentation.
        workers: number of loader processes.

    Raises:
        InputError: a source has no region.
    """
    torch.manual_seed(seed)
    network = BoxNetwork(pretrained and start is None)
    if start is not None:
        network.load_state_dict(load_file(start))
    network = network.to(memory_format=torch.channels_last)
    sources = [(share, regions_of(path)) for path, share in manifests.items()]
    sources += [(share, objects_of(folder)) for folder, share in (objects or {}).items()]
    batches = iter(DataLoader(_Crops(sources, seed), batch_size, num_workers=workers, collate_fn=_collated))
    optimizer = torch.optim.AdamW(_groups(network, lr, backbone_lr_scale), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / WARMUP) * max(0.01, 0.5 * (1 + np.cos(np.pi * step / steps)))
    )
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.998), use_buffers=True)
    with tqdm(range(steps), unit="step") as bar:
        for _ in bar:
            loss = _step(network, next(batches), optimizer)
            schedule.step()
            average.update_parameters(network)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
    state = average.module.state_dict()
    with atomic_path(out) as partial:
        save_file({n: (w.half() if w.is_floating_point() else w).contiguous() for n, w in state.items()}, partial)
    return 0


class _Crops(IterableDataset[Sample]):
    """An endless stream of augmented crops."""

    def __init__(self, sources: Sequence[tuple[float, list[Region]]], seed: int) -> None:
        self.sources = sources
        self.seed = seed

    def __iter__(self) -> Iterator[Sample]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        shares = np.array([share for share, _ in self.sources])
        while True:
            regions = self.sources[rng.choice(len(self.sources), p=shares / shares.sum())][1]
            yield drawn(regions[rng.integers(len(regions))], rng)


def _collated(rows: Sequence[Sample]) -> Batch:
    crops, boxes, masks, counts = (torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
    return Batch(crops.permute(0, 3, 1, 2), boxes, masks, counts)


def _groups(network: BoxNetwork, lr: float, backbone_lr_scale: float) -> list[dict[str, Any]]:
    """Freeze the first layers; return the optimizer's groups for the rest of the backbone and for the decoder."""
    for layer in (network.stem, network.bn1, network.blocks[0]):
        layer.requires_grad_(False)
    backbone = [weight for weight in network.blocks.parameters() if weight.requires_grad]
    of_backbone = {id(weight) for weight in network.blocks.parameters()}
    decoder = [w for w in network.parameters() if w.requires_grad and id(w) not in of_backbone]
    return [{"params": decoder, "lr": lr}, {"params": backbone, "lr": lr * backbone_lr_scale}]


def _step(network: BoxNetwork, batch: Batch, optimizer: torch.optim.Optimizer) -> float:
    """Update the weights; the backbone's batch norms keep their ImageNet statistics."""
    network.train()
    for norm in (network.bn1, *network.blocks.modules()):
        if isinstance(norm, nn.BatchNorm2d):
            norm.eval()
    crops = (batch.crops.float() / 255).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(crops, batch.boxes_xyxy)
    loss = _loss(logits, batch.masks[:, None].float(), batch.counts[:, None].float())
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 2.0)
    optimizer.step()
    return loss.item()


def _loss(logits: Tensor, masks: Tensor, counts: Tensor) -> Tensor:
    """Cross-entropy and Dice at half the resolution, in the box and its margin."""
    logits, masks, counts = (F.avg_pool2d(grid, 2) for grid in (logits, masks, counts))
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none") * counts
    shares, masks = logits.sigmoid() * counts, masks * counts
    overlap = 2 * (shares * masks).sum((1, 2, 3)) + 1
    dice = 1 - overlap / (shares.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)
    return (entropy.sum((1, 2, 3)) / counts.sum((1, 2, 3)).clamp(min=1) + dice).mean()


if __name__ == "__main__":
    from jsonargparse import auto_cli

    auto_cli(train, as_positional=False)
