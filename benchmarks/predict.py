"""The command `predict` compared with a simple loop over a folder of photos, and the student with other networks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from lightning.fabric import Fabric
from PIL import Image
from table import QUICK, seconds_each, write_table
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet50
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from boxpromptiml import Localizer
from boxpromptiml.images import read_photo, read_upright, resize_photo, resize_picture
from boxpromptiml.synthesis.photos import packaged_photos
from stage2_distill.inference.engine import localize_photos
from stage2_distill.inference.outputs import Outputs
from stage2_distill.inference.prediction_log import open_log
from stage2_distill.model.student import count_macs, count_parameters

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
THREADS = int(os.environ.get("THREADS", os.cpu_count() or 1))
FOLDERS = {(384, 256): 2, (96, 128): 2} if QUICK else {(384, 256): 64, (4000, 3000): 8}
"""(width, height) of photos → number of photos."""
TURNS = 3
PEER_SIDE = 64 if QUICK else 512
"""Input size of Mesorch and MVSS-Net in pixels, and the usual one of SegFormer in this field."""
MASKS = Outputs(overlays=False, regions=False)
OBVIOUS = "PIL, PyTorch, PIL, one after the other"
BOUND = "bound: decoding and PyTorch alone"


class SegFormer(nn.Module):
    """SegFormer from `transformers` (Xie et al., 2021) with one class.

    Args:
        depths: number of blocks in each of the four stages: 3, 4, 6, 3 for B2, and 3, 4, 18, 3 for B3.
    """

    def __init__(self, depths: Sequence[int]) -> None:
        super().__init__()
        widths = [64, 128, 320, 512]
        shape = SegformerConfig(depths=list(depths), hidden_sizes=widths, decoder_hidden_size=768)
        shape.num_labels = 1
        self.network = SegformerForSemanticSegmentation(shape)

    def forward(self, image: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, 1, H / 4, W / 4)."""
        return self.network(image).logits


class InParallel(nn.Module):
    """Networks that all process the photo, like the branches of Mesorch and MVSS-Net."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, image: Tensor) -> list[Any]:
        """Return the output of each branch for images (B, 3, H, W)."""
        return [branch(image) for branch in self.branches]


def main() -> None:
    """Write both tables."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    in_pytorch, in_onnx = Localizer.load().to(DEVICE), None if GPU else Localizer.load(backend="onnx")
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for (width, height), count in FOLDERS.items():
            photos = _photos(Path(name, f"{width}x{height}"), width, height, count)
            rows += _rows(photos, f"{width} × {height}", in_pytorch, in_onnx, Path(name, "out"))
        change = max(_change_by_draft(path, in_pytorch) for path in photos)
    side = in_pytorch.student.image_size
    write_table(
        "predict",
        f"A folder of photos to masks, {'a GPU' if GPU else f'threads: {THREADS}'}",
        ["photos", "way", "photos/s", "× the obvious loop", "of the bound"],
        rows,
        f"The released student, which sees {side} pixels; {', '.join(map(str, FOLDERS.values()))} JPEG files at "
        f"quality 92, made from packaged photos, medians of {TURNS} turns, without the start of the program. The "
        "obvious loop opens a photo, shrinks it, asks the network, enlarges the answer in 8 bits and saves a PNG, all "
        "with Pillow's defaults; the bound decodes and shrinks photos and asks PyTorch, a photo for each thread, and "
        "writes nothing. JPEG files are decoded at full size: decoders can shrink them on the way, but then single "
        f"probabilities in the largest of these photos change by up to {change:.2f}. "
        f"Settings: THREADS={THREADS}. Load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} "
        "cores.",
    )
    _write_peers(in_pytorch, in_onnx)


def _rows(
    photos: list[Path], size: str, in_pytorch: Localizer, in_onnx: Localizer | None, out: Path
) -> list[list[Any]]:
    ways: dict[str, Callable[[], None]] = {
        OBVIOUS: lambda: _obvious(photos, in_pytorch),
        BOUND: lambda: _decode_and_ask(photos, in_pytorch),
        "ours, masks": lambda: _ours(photos, in_pytorch, out, MASKS),
        "ours, masks, overlays and regions": lambda: _ours(photos, in_pytorch, out, Outputs()),
    }
    if in_onnx is not None:
        ways |= {
            "ours with ONNX Runtime, masks": lambda: _ours(photos, in_onnx, out, MASKS),
            "ours with ONNX Runtime, masks, overlays and regions": lambda: _ours(photos, in_onnx, out, Outputs()),
        }
    for localizer in filter(None, (in_pytorch, in_onnx)):
        _ours(photos[:2], localizer, out, MASKS)  # warm-up
    rate = {way: len(photos) / taken for way, taken in seconds_each(ways, TURNS).items()}
    return [[size, way, ours, ours / rate[OBVIOUS], ours / rate[BOUND]] for way, ours in rate.items()]


def _photos(folder: Path, width: int, height: int, count: int) -> list[Path]:
    """Write JPEG files with added sensor noise, because smooth images would be decoded faster than real photos."""
    folder.mkdir()
    sources = [read_photo(photo.path) for photo in packaged_photos()]
    for number in range(count):
        pixels = resize_photo(sources[number % len(sources)], width, height).astype(np.int16)
        pixels += np.random.default_rng(number).integers(-4, 5, pixels.shape, np.int16)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03d}.jpg", quality=92)
    return sorted(folder.iterdir())


@torch.inference_mode()
def _obvious(photos: list[Path], localizer: Localizer) -> None:
    side = localizer.student.image_size
    with tempfile.TemporaryDirectory() as out:
        for path in photos:
            photo = Image.open(path).convert("RGB")
            small = np.array(photo.resize((side, side), Image.Resampling.BILINEAR))
            image = torch.from_numpy(small).permute(2, 0, 1)[None].to(DEVICE) / 255
            levels = (localizer(image)[0][0, 0] * 255).round().byte().cpu().numpy()
            Image.fromarray(levels).resize(photo.size, Image.Resampling.BILINEAR).save(Path(out, f"{path.stem}.png"))


def _decode_and_ask(photos: list[Path], localizer: Localizer) -> None:
    side = localizer.student.image_size

    def through(path: Path) -> None:
        localizer.localize([resize_picture(read_upright(path).rgb(), side, side)])

    with ThreadPoolExecutor(THREADS, initializer=lambda: torch.set_num_threads(1)) as pool:
        list(pool.map(through, photos))
    torch.set_num_threads(THREADS)


def _change_by_draft(path: Path, localizer: Localizer) -> float:
    """Return the largest change in probability if the JPEG decoder shrinks a photo to twice the student's size."""
    side = localizer.student.image_size
    with Image.open(path) as image:
        image.draft("RGB", (2 * side, 2 * side))
        shrunk = resize_picture(image.convert("RGB"), side, side)
    whole, other = localizer.localize([resize_picture(read_upright(path).rgb(), side, side), shrunk])
    return float(np.abs(whole - other).max())


def _ours(photos: list[Path], localizer: Localizer, out: Path, outputs: Outputs) -> None:
    settings = {"threshold": localizer.threshold, "tiled": False, "flips": False}
    with tempfile.TemporaryDirectory(dir=out.parent) as folder, open_log(Path(folder, out.name), settings):
        fabric = Fabric(accelerator="auto", devices=1)
        names = {path: path.stem for path in photos}
        localize_photos(fabric, localizer, names, Path(folder, out.name), outputs, settings)


def _write_peers(in_pytorch: Localizer, in_onnx: Localizer | None) -> None:
    """Compare one photo through the student and through stand-ins for networks of the field."""
    side, peers = in_pytorch.student.image_size, _peers()
    ours = torch.rand(1, 3, side, side, device=DEVICE)
    theirs = torch.rand(1, 3, PEER_SIDE, PEER_SIDE, device=DEVICE)
    student = "the released student, PyTorch"
    ways = {student: _forward(in_pytorch, ours)}
    if in_onnx is not None and in_onnx.onnx is not None:
        ways["the released student, ONNX Runtime"] = _forward(in_onnx.onnx, ours)
    facts = {way: (side, count_parameters(in_pytorch), count_macs(in_pytorch.cpu().student)) for way in ways}
    in_pytorch.to(DEVICE)
    ways |= {name: _forward(network, theirs) for name, network in peers.items()}
    facts |= {name: (PEER_SIDE, count_parameters(network), _macs(network)) for name, network in peers.items()}
    for way in ways.values():
        way()  # warm-up
    seconds = seconds_each(ways, TURNS, min)
    fastest = min(seconds.values())
    rows = []
    for name, taken in seconds.items():
        pixels, parameters, macs = facts[name]
        row: list[Any] = [name, pixels, f"{parameters / 1e6:.1f}", f"{macs / 1e9:.1f}", 1000 * taken, taken / fastest]
        rows.append(row)
    write_table(
        "predict",
        f"One photo at a time beside networks of the peers' sizes, {'a GPU' if GPU else f'threads: {THREADS}'}",
        ["network", "pixels", "parameters, M", "GMACs", "ms", "× the fastest"],
        rows,
        f"Batch 1, fp32, each at its own size, the fastest of {TURNS} turns in which all take part. Only the student "
        "is the real network. The others stand in for theirs, with random weights, and are no larger: ConvNeXt-tiny "
        "beside SegFormer-B3 for Mesorch, which has 86 M parameters and 122 GMACs; two ResNet-50 with a stride of 16 "
        "for MVSS-Net, which has 147 M and 166. "
        f"Multiply-accumulates are counted by PyTorch. Settings: THREADS={THREADS}. Load of the machine at the end: "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.",
        part="peers",
    )


def _peers() -> dict[str, nn.Module]:
    networks = {
        "SegFormer-B2": SegFormer((3, 4, 6, 3)),
        "MVSS-Net-sized": InParallel(*(resnet50(replace_stride_with_dilation=[False, False, True]) for _ in range(2))),
        "Mesorch-sized": InParallel(timm.create_model("convnext_tiny", features_only=True), SegFormer((3, 4, 18, 3))),
    }
    return {name: network.eval().to(memory_format=torch.channels_last).to(DEVICE) for name, network in networks.items()}


def _forward(network: Callable[[Tensor], Any], image: Tensor) -> Callable[[], None]:
    def once() -> None:
        with torch.inference_mode():
            network(image)
        if GPU:
            torch.cuda.synchronize()

    return once


def _macs(network: nn.Module) -> int:
    image = torch.zeros(1, 3, PEER_SIDE, PEER_SIDE, device=DEVICE)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # counts attention
        network(image)
    return counter.get_total_flops() // 2


if __name__ == "__main__":
    main()
