"""Training of the tiny network, on forgeries of packaged photos only.

    boxpromptiml synthesize --out runs/tiny/data --train 3000 --val 100 --test 100 --size 256 --seed 1
    python -m stage1_pseudomask.teachers.tiny_sam_training --manifest runs/tiny/data/manifest.json \\
        --out runs/tiny/tiny_sam.pth
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from boxpromptiml.core.atomic_files import atomic_path
from boxpromptiml.core.boxes import rasterize
from boxpromptiml.core.boxes_from_mask import boxes_from_mask
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.images import Mask, Photo, read_record, resize_mask
from boxpromptiml.manifests.manifest import read_manifest
from stage1_pseudomask.teachers.sam_resize import resize_longest_side
from stage1_pseudomask.teachers.tiny_sam import SIDE, tiny_sam


def train(manifest: Path, out: Path, steps: int = 2400, batch_size: int = 16, lr: float = 1e-3, seed: int = 0) -> int:
    """Train the tiny network to segment the manipulated region in a coarse box, and save its weights in half precision.

    Args:
        manifest: COCO JSON of images with masks, whose train split is used.
        out: file for the weights.
        steps: number of AdamW steps, with a cosine schedule.
        batch_size: images per step, each with one box.
        lr: peak learning rate.
        seed: random seed for weights, order, boxes and flips; the same seed on the same machine gives the same weights.
    """
    torch.manual_seed(seed)
    model = tiny_sam().train()
    records = [r for r in read_manifest(manifest).records if r.split == "train" and r.mask_path is not None]
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with tqdm(_batches(records, batch_size, steps, seed), total=steps, unit="step") as bar:
        for pixels, boxes, truths in bar:
            loss = _loss(model, pixels, boxes, truths)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    with atomic_path(out) as partial:
        torch.save({name: weight.half() for name, weight in model.state_dict().items()}, partial)
    return 0


def _batches(
    records: Sequence[ImageRecord], batch_size: int, steps: int, seed: int
) -> Iterator[tuple[list[Tensor], Tensor, Tensor]]:
    """Yield (3, H, W) pixels in [0, 255], (B, 4) boxes (XYXY), and the (B, 1, SIDE, SIDE) masks inside the boxes."""
    rng = np.random.default_rng(seed)
    read = (read_record(record) for record in tqdm(records, unit="image"))
    examples = [(photo, mask) for photo, mask in read if mask is not None]
    for _ in range(steps):
        drawn = [_drawn(examples[i], rng) for i in rng.integers(0, len(examples), batch_size)]
        pixels = [torch.from_numpy(photo).permute(2, 0, 1) for photo, _, _ in drawn]
        truths = [F.pad(torch.from_numpy(m).float(), (0, SIDE - m.shape[1], 0, SIDE - m.shape[0])) for _, _, m in drawn]
        yield pixels, torch.from_numpy(np.stack([box for _, box, _ in drawn])), torch.stack(truths)[:, None]


def _drawn(example: tuple[Photo, Mask], rng: np.random.Generator) -> tuple[Photo, NDArray[np.float32], Mask]:
    """Crop and flip a photo at random and resize it to the network; return it, a coarse box, and the mask inside it."""
    photo, mask = example
    height, width = mask.shape
    crop = slice(0, int(height * rng.uniform(0.6, 1))), slice(0, int(width * rng.uniform(0.6, 1)))
    if mask[crop].any():
        photo, mask = photo[crop], mask[crop]
    if rng.random() < 0.5:
        photo, mask = photo[:, ::-1], mask[:, ::-1]
    photo = resize_longest_side(photo, SIDE)
    height, width = photo.shape[:2]
    mask = resize_mask(np.ascontiguousarray(mask), width, height)
    boxes = boxes_from_mask(mask, rng, looseness=0.3)
    if not len(boxes):  # a small region vanished when the mask was resized
        boxes = np.array([[0, 0, width, height]], np.float32)
    box = boxes[rng.integers(len(boxes))]
    return photo, box, mask & rasterize(box[None], width, height)


def _loss(model: Sam, pixels: Sequence[Tensor], boxes: Tensor, truths: Tensor) -> Tensor:
    """Cross-entropy and Dice of the single mask and of the best of three masks, plus the error of the predicted IoU."""
    features = model.image_encoder(torch.stack([model.preprocess(image) for image in pixels]))
    sparse, dense = model.prompt_encoder(points=None, boxes=boxes, masks=None)
    logits, scores = model.mask_decoder.predict_masks(
        image_embeddings=torch.zeros(1, 1, 1, 1),  # a dummy; the images' features are added to `dense` below
        image_pe=model.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense + features,
    )
    target = F.interpolate(truths, logits.shape[-2:], mode="area").expand_as(logits)
    shares = logits.sigmoid()
    overlap = 2 * (shares * target).sum((2, 3)) + 1
    dice = 1 - overlap / (shares.sum((2, 3)) + target.sum((2, 3)) + 1)
    losses = 5 * F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((2, 3)) + dice
    masks, wanted = logits.detach() > 0, target > 0.5
    iou = (masks & wanted).sum((2, 3)) / (masks | wanted).sum((2, 3)).clamp(min=1)
    return (losses[:, 0] + losses[:, 1:].amin(1)).mean() + F.mse_loss(scores, iou)


if __name__ == "__main__":
    from jsonargparse import auto_cli

    auto_cli(train, as_positional=False)
