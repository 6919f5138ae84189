"""Masks for new photos: a probability mask at the photo's own size, an overlay, and a list of it all."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from boxpromptiml import pictures, provenance
from boxpromptiml.images import (
    ImageError,
    Photo,
    Probability,
    list_images,
    read_photo,
    resize_photo,
    resize_probability,
    write_photo,
    write_probability,
)
from boxpromptiml.records import InputError
from stage2_distill.dataset import image_tensor
from stage2_distill.student import Student


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the student says about one photo; an entry of ``predictions.json``.

    Attributes:
        file: the photo.
        mask: 8-bit probability mask, relative to the output folder.
        overlay: the photo with the region tinted, relative to the output folder.
        score: largest probability in the image.
        area: share of pixels above the threshold.
    """

    file: str
    mask: str
    overlay: str
    score: float
    area: float


@dataclass(frozen=True, slots=True)
class _Item:
    """A photo from a loader worker: ``photo`` as read, ``image`` as the student takes it; or why there is neither."""

    file: Path
    photo: Photo | None
    image: Tensor | None
    problem: str = ""


class _Photos(Dataset[_Item]):
    def __init__(self, files: list[Path], size: int) -> None:
        self.files = files
        self.size = size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> _Item:
        file = self.files[index]
        try:
            photo = read_photo(file)
        except ImageError as error:
            return _Item(file, None, None, str(error))
        return _Item(file, photo, image_tensor(resize_photo(photo, self.size, self.size)))


def predict(
    checkpoint: Path,
    images: Path | list[Path],
    out: Path,
    threshold: float = 0.5,
    batch_size: int = 8,
    workers: int = 2,
    accelerator: str = "auto",
    devices: int = 1,
    num_nodes: int = 1,
) -> int:
    """Localize manipulations in photos with a trained student.

    Writes masks/NAME.png (8 bit, 255 = certainly manipulated, at the photo's own size), overlays/NAME.jpg and
    predictions.json, which lists both with an image score (the largest probability) and the share of manipulated
    pixels. Photos that cannot be read are listed there too, and the exit code is then 3.

    Args:
        checkpoint: a .ckpt file that `boxpromptiml fit` wrote.
        images: a photo, a folder of photos, or a list of both such as --images '[photo.jpg, folder]'.
        out: folder to write to.
        threshold: probability above which the overlay is tinted and a pixel counts as manipulated.
        batch_size: photos a step.
        workers: loader processes.
        accelerator: cpu, gpu, or auto.
        devices: processes on this machine, each with a device of its own.
        num_nodes: machines, when started by torchrun or SLURM.
    """
    names = _output_names(images if isinstance(images, list) else [images])
    student = Student.from_checkpoint(checkpoint)
    fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes)
    fabric.launch()
    mine = list(names)[fabric.global_rank :: fabric.world_size]
    loader = DataLoader(_Photos(mine, student.image_size), batch_size, num_workers=workers, collate_fn=list)
    network = fabric.setup_module(student)
    done: list[Prediction] = []
    unread: list[dict[str, str]] = []
    bar = tqdm(total=len(mine), unit="image", desc="predict", disable=not fabric.is_global_zero)
    with bar, torch.inference_mode():
        for items in loader:
            readable = [item for item in items if item.image is not None]
            unread += [{"file": str(item.file), "reason": item.problem} for item in items if item.image is None]
            if readable:
                logits = network(torch.stack([item.image for item in readable]).to(fabric.device)).logits
                for item, small in zip(readable, torch.sigmoid(logits[:, 0].float()).cpu().numpy(), strict=True):
                    done.append(_write(out, names[item.file], item, small, threshold))
            bar.update(len(items))
    return _finish(fabric, out, checkpoint, threshold, done, unread)


def _write(out: Path, name: str, item: _Item, small: Probability, threshold: float) -> Prediction:
    assert item.photo is not None
    height, width = item.photo.shape[:2]
    probability = resize_probability(small, width, height)
    mask, overlay = Path("masks", f"{name}.png"), Path("overlays", f"{name}.jpg")
    for path in (mask, overlay):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
    write_probability(out / mask, probability)
    write_photo(out / overlay, pictures.overlay(item.photo, probability, threshold))
    area = float((probability > threshold).mean())
    return Prediction(str(item.file), mask.as_posix(), overlay.as_posix(), float(probability.max()), area)


def _finish(
    fabric: Fabric,
    out: Path,
    checkpoint: Path,
    threshold: float,
    done: list[Prediction],
    unread: list[dict[str, str]],
) -> int:
    everything: list[tuple[list[Prediction], list[dict[str, str]]]] = [(done, unread)] * fabric.world_size
    if fabric.world_size > 1:
        torch.distributed.all_gather_object(everything, (done, unread))
    predictions = sorted((p for part, _ in everything for p in part), key=lambda p: p.file)
    set_aside = sorted((u for _, part in everything for u in part), key=lambda u: u["file"])
    if fabric.is_global_zero:
        content = {
            "images": [asdict(prediction) for prediction in predictions],
            "set_aside": set_aside,
            "threshold": threshold,
            "checkpoint": str(checkpoint),
            "checkpoint_sha256": provenance.file_sha256(checkpoint),
            "environment": provenance.environment(),
        }
        provenance.write_json(out / "predictions.json", content)
        print(f"{len(predictions)} photos localized: {out / 'overlays'}, {out / 'predictions.json'}")
        for item in set_aside:
            print(f"set aside: {item['reason']}")
    return 3 if set_aside else 0


def _output_names(inputs: list[Path]) -> dict[Path, str]:
    """Each photo's name in the output: its path below the folder that was given, without the suffix if that is free."""
    files: dict[Path, Path] = {}
    for given in inputs:
        if given.is_dir():
            files |= {file: file.relative_to(given) for file in list_images(given)}
        else:
            files[given] = Path(given.name)
    if not files:
        raise InputError(f"{', '.join(map(str, inputs))}: no photo found; name photo files or folders of photos")
    stems = Counter(relative.with_suffix("") for relative in files.values())
    names = {f: (r if stems[r.with_suffix("")] > 1 else r.with_suffix("")).as_posix() for f, r in files.items()}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise InputError(f"two photos would both be written as {twice[0]}; give their folders in separate runs")
    return names
