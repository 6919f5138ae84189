"""The student as a model of IMDLBenCo, the field's benchmark: its trainer, its tester and its metrics take it by name.

Importing this module registers the model. It runs in IMDLBenCo's own environment (numpy below 2), in which this package
is installed without its dependencies; docs/howto/imdlbenco.md says how.

    python -m stage2_distill.inference.imdlbenco checkpoints/checkpoint-0.pth

writes the released student's weights as its tester reads them.
"""

# IMDLBenCo makes an option of its programs of each argument, with the annotation as the type that converts text: there
# must be no `from __future__ import annotations` here.
import sys
from pathlib import Path

import torch
from IMDLBenCo.registry import MODELS
from torch import Tensor, nn

from boxpromptiml.core.records import InputError
from boxpromptiml.images import Photo
from stage2_distill.inference import released
from stage2_distill.inference.localizer import Localizer
from stage2_distill.losses.distillation import bce_per_image, dice_per_image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""By which IMDLBenCo's data sets normalise images."""


@MODELS.register_module()
class BoxPromptIML(nn.Module):
    """A student that answers as IMDLBenCo's models do.

    In evaluation each photo is resized as `boxpromptiml predict` does it. With IMDLBenCo's padding the student so sees
    photos of any size as always, and is scored at their own size; with its resizing it sees what OpenCV left of them.
    In training it learns from whole images at its own size, by binary cross-entropy and Dice loss.

    Args:
        student: what `Localizer.load` takes: ``released``, a checkpoint, a folder or a name on the hub.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, student: str = released.NAME) -> None:
        super().__init__()
        self.localizer = Localizer.load(student)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(
        self,
        image: Tensor,
        mask: Tensor,
        shape: Tensor,
        label: Tensor | None = None,
        origin_shape: Tensor | None = None,
        name: list[str] | None = None,
        shape_mask: Tensor | None = None,
        edge_mask: Tensor | None = None,
    ) -> dict[str, Tensor | dict[str, Tensor]]:
        """Localize manipulations in a batch of IMDLBenCo's data sets.

        Args:
            image: (B, 3, H, W) normalised by `MEAN` and `STD`.
            mask: (B, 1, H, W), 1 where manipulated.
            shape: (B, 2) height and width of the photo within the image, which begins in the upper left corner.
            label: not used, as all that follow: 1 where anything was manipulated.
            origin_shape: of the photo's file.
            name: of the photo's file.
            shape_mask: (B, 1, H, W), 1 within the photo, where photos are padded.
            edge_mask: edges of the mask.

        Returns:
            ``pred_mask`` (B, 1, H, W) and ``pred_label`` (B,), its largest value, in [0, 1]; ``backward_loss`` and
            what IMDLBenCo plots, while training.

        Raises:
            InputError: images to learn from are padded or not of the student's size.
        """
        pixels = image * self.std + self.mean
        if self.training:
            return self._learn(pixels, mask, padded=shape_mask is not None)
        predicted = torch.zeros_like(image[:, :1])
        photos = [_photo(rgb[:, :height, :width]) for rgb, (height, width) in zip(pixels, shape.tolist(), strict=True)]
        for of_image, found in zip(predicted, self.localizer.localize(photos), strict=True):
            of_image[0, : found.shape[0], : found.shape[1]] = torch.from_numpy(found)
        return {"pred_mask": predicted, "pred_label": predicted.amax((1, 2, 3))}

    def _learn(self, pixels: Tensor, mask: Tensor, padded: bool) -> dict[str, Tensor | dict[str, Tensor]]:
        side = self.localizer.student.image_size
        if padded or pixels.shape[-2:] != (side, side):
            given = "padded" if padded else f"{pixels.shape[-1]} × {pixels.shape[-2]} pixels"
            raise InputError(f"images to learn from are {given}; train with --if_resizing --image_size {side}")
        logits = self.localizer.student(pixels).logits
        losses = {"bce": bce_per_image(logits, mask).mean(), "dice": dice_per_image(logits, mask).mean()}
        probability = torch.sigmoid(logits)
        return {
            "backward_loss": losses["bce"] + losses["dice"],
            "pred_mask": probability,
            "pred_label": probability.amax((1, 2, 3)),
            "visual_loss": losses,
        }


def _photo(rgb: Tensor) -> Photo:
    """(3, H, W) in [0, 1] to the 8-bit pixels (H, W, 3) that were normalised."""
    return (rgb * 255).round_().clamp_(0, 255).byte().permute(1, 2, 0).cpu().numpy()


def main() -> None:
    """Write a student's weights: FILE, and perhaps the student."""
    path, *student = sys.argv[1:]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": BoxPromptIML(*student).state_dict()}, path)


if __name__ == "__main__":
    main()
