"""A trained student for new photos: loading, prediction, saving, sharing."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from boxpromptiml.core.atomic_files import move_into_place
from boxpromptiml.core.limits import Threshold, within_limits
from boxpromptiml.images import Mask, Probability
from boxpromptiml.images.connected_regions import Region, find_regions
from stage2_distill.data.preprocessing import student_input
from stage2_distill.inference import released
from stage2_distill.inference.given_photo import GivenPhoto, pixels_of
from stage2_distill.inference.scored_map import ScoredMap
from stage2_distill.inference.tiling import localize_tiled
from stage2_distill.model.student import Student, WeightsError, count_parameters

if TYPE_CHECKING:  # imports this module
    from stage2_distill.inference.onnx_backend import OnnxNetwork

UNCALIBRATED = "none was: 0.5"


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Prediction of a student for one photo.

    Attributes:
        probability: (H, W) float32 in [0, 1] at the photo's own size.
        mask: (H, W) bool, True where the probability is above the threshold.
        score: in [0, 1], for ranking photos; see `Localization`.
        regions: connected regions of the mask as boxes and polygons, the largest first.
    """

    probability: Probability
    mask: Mask
    score: float
    regions: list[Region]


class Localizer(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="boxpromptiml",
    tags=["image-forensics", "image-manipulation-localization"],
    pipeline_tag="image-segmentation",
    paper_url="https://arxiv.org/abs/2511.20359",
    model_card_template=Path(__file__).with_name("model_card.md.jinja").read_text(encoding="utf-8"),
):
    """A student with its threshold.

    `load` creates one from a checkpoint, a folder or the hub. `save` writes a folder with ``model.safetensors``,
    ``config.json`` and a model card, which ``push_to_hub`` uploads.

    Args:
        student: arguments of `Student`.
        threshold: pixels with a probability strictly above it count as manipulated.
        calibration: description of how the threshold was chosen.

    Raises:
        WeightsError: the arguments do not match this version's `Student`.
        InputError: the threshold is not a probability.
    """

    @within_limits
    def __init__(self, student: dict[str, Any], threshold: Threshold = 0.5, calibration: str = UNCALIBRATED) -> None:
        super().__init__()
        backbone = str(student.get("backbone"))
        if not timm.is_model(backbone):  # timm downloads models for certain other names
            raise WeightsError(f"timm has no backbone called {backbone!r}; `timm.list_models()` lists them")
        self.threshold = float(threshold)
        self.calibration = calibration
        self.student = Student(**student, pretrained=False)
        self.onnx: OnnxNetwork | None = None

    @classmethod
    def load(cls, source: str | Path = released.NAME, backend: released.Backend = "torch") -> Localizer:
        """Load a localizer in evaluation mode on the CPU; ``.to("cuda")`` moves it. No code in the files is executed.

        Args:
            source: ``released`` for the student that comes with the package, a .ckpt file written by `boxpromptiml
                fit`, a folder written by `save`, or OWNER/NAME of a model on the Hugging Face hub, which is downloaded
                once.
            backend: ``torch``, or ``onnx`` for ONNX Runtime (extra ``export``), which gives the same results faster on
                a CPU. Each student is converted once, which takes half a minute.

        Raises:
            WeightsError: the source does not exist or does not match this version.
            InputError: the student cannot be converted, or packages are missing.
        """
        localizer = cls._loaded(source)
        if backend == "onnx":
            from stage2_distill.inference.onnx_backend import OnnxNetwork

            localizer.onnx = OnnxNetwork.of(localizer, localizer.student.image_size, localizer.weights_sha256()[:16])
        return localizer

    @classmethod
    def _loaded(cls, source: str | Path) -> Localizer:
        path = released.FOLDER if source == released.NAME else Path(source)
        if path.is_file():
            return cls.from_student(Student.from_checkpoint(path))
        on_hub = not path.is_dir() and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*(?<!\.ckpt)", str(source))
        if not path.is_dir() and not on_hub:
            raise WeightsError(f"{source}: no such checkpoint; train one with `boxpromptiml fit`")
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # the mixin prints where it loads from
                return cls.from_pretrained(str(path), strict=True).eval()
        except Exception as error:  # files from anywhere raise JSON, safetensors, torch or network errors
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            remedy = (
                "no such file or folder, and no such model on the hub"
                if on_hub
                else "not a folder of a saved localizer"
            )
            raise WeightsError(f"{source}: {remedy} ({reason}); pass a checkpoint, or save it again") from None

    def resized(self, sizes: dict[str, int]) -> Localizer:
        """Return a localizer with the same weights and threshold for other input sizes.

        Args:
            sizes: ``image_size``, ``second_size`` or both, as in `Student`.
        """
        other = Localizer(self.student.arguments | sizes, self.threshold, self.calibration)
        other.student.load_state_dict(self.student.state_dict())
        return other.eval()

    @classmethod
    def from_student(cls, student: Student, threshold: float = 0.5, calibration: str = UNCALIBRATED) -> Localizer:
        """Create a localizer with a copy of a student's weights, in evaluation mode."""
        localizer = cls(student.arguments, threshold, calibration)
        localizer.student.load_state_dict(student.state_dict())
        return localizer.eval()

    def save(self, folder: str | Path, half: bool = False) -> None:
        """Write ``model.safetensors``, ``config.json`` and, unless it exists, a model card ``README.md``.

        Args:
            folder: folder to write to.
            half: save weights in 16 bits, which halves the size. Inference still uses 32 bits.
        """
        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        facts = {
            "backbone": self.student.arguments["backbone"],
            "image_size": self.student.image_size,
            "second_size": self.student.second_size,
            "parameters": f"{count_parameters(self):,}",
            "threshold": f"{self.threshold:g}",
            "calibration": self.calibration,
        }
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".saving-") as name:
            (deepcopy(self).half() if half else self).save_pretrained(name, model_card_kwargs=facts)
            shutil.copymode(Path(name, "config.json"), Path(name, "model.safetensors"))  # safetensors: owner only
            folder.mkdir(exist_ok=True)
            for written in sorted(Path(name).iterdir(), reverse=True):
                if written.name != "README.md" or not (folder / written.name).exists():
                    move_into_place(written, folder / written.name)

    @within_limits
    def predict(
        self, photo: GivenPhoto, tiled: bool = False, threshold: Threshold | None = None, flips: bool = False
    ) -> Prediction:
        """Localize manipulations in one photo.

        Args:
            photo: path or bytes of a file, a PIL image, or a uint8 array, grey (H, W) or RGB (H, W, 3).
            tiled: process the photo at its own resolution in overlapping tiles, instead of shrunk to the student's
                size. Slower, with more detail; better only for a student trained at such a resolution.
            threshold: overrides the localizer's own.
            flips: average the predictions for the photo and its two mirror images. Three times slower, slightly better.

        Raises:
            ImageError: the photo cannot be read.
            InputError: the threshold is not a probability.
        """
        pixels = pixels_of(photo)
        if tiled:
            found = localize_tiled(pixels, self.student.image_size, partial(self.localize_scored, flips=flips))
        else:
            found = self.localize_scored([pixels], flips=flips)[0]
        limit = self.threshold if threshold is None else threshold
        mask = found.probability > limit
        return Prediction(found.probability, mask, found.score, find_regions(found.probability, limit))

    @torch.inference_mode()
    def localize_scored(self, photos: Sequence[GivenPhoto], flips: bool = False) -> list[ScoredMap]:
        """Predict maps (H, W) and scores of photos of any size, in one batch at the student's size.

        Args:
            photos: each as for `predict`, such as (H, W, 3) uint8 RGB.
            flips: average the predictions for each photo and its horizontal and vertical mirror images.

        Raises:
            ImageError: a photo cannot be read, or is an array of another type.
        """
        if not photos:
            return []
        side = self.student.image_size
        pixels = [pixels_of(photo) for photo in photos]
        images = torch.stack([student_input(photo, side) for photo in pixels])
        images = images.to(self.student.mean.device)
        network = self.onnx or self
        probability, score = network(images)
        for axis in (-1, -2) if flips else ():
            flipped, its_score = network(images.flip(axis))
            probability, score = probability + flipped.flip(axis), score + its_score
        views = 3 if flips else 1
        maps, scores = (probability[:, 0] / views).cpu().numpy(), (score / views).tolist()
        return [
            ScoredMap(small, score).resized(photo.shape[1], photo.shape[0])
            for photo, small, score in zip(pixels, maps, scores, strict=True)
        ]

    def localize(self, photos: Sequence[GivenPhoto], flips: bool = False) -> list[Probability]:
        """Predict the maps of `localize_scored` without the scores."""
        return [found.probability for found in self.localize_scored(photos, flips)]

    def weights_sha256(self) -> str:
        """Return the SHA-256 of the student's arguments and weights, independent of where they were loaded from."""
        digest = hashlib.sha256(json.dumps(self.student.arguments, sort_keys=True).encode())
        for name, tensor in sorted(self.student.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, 3, H, W), RGB in [0, 1], to probabilities (B, 1, H, W) and scores (B,)."""
        localization = self.student(image)
        return torch.sigmoid(localization.logits.float()), localization.score


def load_named(checkpoint: str, backend: released.Backend = "torch") -> Localizer:
    """Load a command's localizer, and print a line if it is the released one."""
    localizer = Localizer.load(checkpoint, backend)
    if checkpoint == released.NAME:
        print(f"student: the released one, which comes with the package (SHA-256 {localizer.weights_sha256()[:12]})")
    return localizer
