"""The student as a model of IMDLBenCo, the field's benchmark.

Importing this module registers the model `BoxPromptIML` for IMDLBenCo's trainer and tester. Use it in IMDLBenCo's own
environment (numpy below 2), with this package installed without its dependencies; see docs/howto/imdlbenco.md.

    python -m stage2_distill.inference.imdlbenco checkpoints/checkpoint-0.pth

writes the released student's weights in the format of IMDLBenCo's tester.
"""

# No `from __future__ import annotations` here: IMDLBenCo turns each argument of the model into a command line option
# and calls its annotation to convert the text.
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
"""Normalisation of images in IMDLBenCo's data sets."""


@MODELS.register_module()
class BoxPromptIML(nn.Module):
    """A student with the interface of IMDLBenCo's models.

    In evaluation, each photo is resized as by `boxpromptiml predict`. With IMDLBenCo's padding, predictions therefore
    equal those of `predict` at the photo's own size; with its resizing, the student's input was downscaled by OpenCV.
    Training uses whole images at the student's size, with binary cross-entropy and Dice loss.

    Args:
        student: source for `Localizer.load`: ``released``, a checkpoint, a folder or a name on the hub.
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
        """Localize manipulations in a batch of an IMDLBenCo data set.

        Args:
            image: (B, 3, H, W) normalized by `MEAN` and `STD`.
            mask: (B, 1, H, W), 1 where manipulated.
            shape: (B, 2) height and width of the photo in the upper left corner of the image.
            label: (B,), 1 for manipulated images; unused.
            origin_shape: (B, 2) size of the photo's file; unused.
            name: name of the photo's file; unused.
            shape_mask: (B, 1, H, W), 1 inside the photo; only for padded photos.
            edge_mask: (B, 1, H, W) edges of the mask; unused.

        Returns:
            ``pred_mask`` (B, 1, H, W) in [0, 1] and ``pred_label`` (B,), the score; in training also
            ``backward_loss`` and ``visual_loss``, the terms that IMDLBenCo plots.

        Raises:
            InputError: training images are padded, or do not have the student's size.
        """
        pixels = image * self.std + self.mean
        if self.training:
            return self._learn(pixels, mask, padded=shape_mask is not None)
        predicted, scores = torch.zeros_like(image[:, :1]), torch.zeros_like(image[:, 0, 0, 0])
        photos = [_photo(rgb[:, :height, :width]) for rgb, (height, width) in zip(pixels, shape.tolist(), strict=True)]
        for i, (found, score) in enumerate(self.localizer.localize_scored(photos)):
            predicted[i, 0, : found.shape[0], : found.shape[1]] = torch.from_numpy(found)
            scores[i] = score
        return {"pred_mask": predicted, "pred_label": scores}

    def _learn(self, pixels: Tensor, mask: Tensor, padded: bool) -> dict[str, Tensor | dict[str, Tensor]]:
        side = self.localizer.student.image_size
        if padded or pixels.shape[-2:] != (side, side):
            given = "padded" if padded else f"{pixels.shape[-1]} × {pixels.shape[-2]} pixels"
            raise InputError(f"training images are {given}; train with --if_resizing --image_size {side}")
        localization = self.localizer.student(pixels)
        logits = localization.logits
        losses = {"bce": bce_per_image(logits, mask).mean(), "dice": dice_per_image(logits, mask).mean()}
        return {
            "backward_loss": losses["bce"] + losses["dice"],
            "pred_mask": torch.sigmoid(logits),
            "pred_label": localization.score,
            "visual_loss": losses,
        }


def _photo(rgb: Tensor) -> Photo:
    """Restore the 8-bit pixels (H, W, 3) from (3, H, W) in [0, 1]."""
    return (rgb * 255).round_().clamp_(0, 255).byte().permute(1, 2, 0).cpu().numpy()


def main() -> None:
    """Write the weights of a student to a file, both named on the command line."""
    path, *student = sys.argv[1:]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": BoxPromptIML(*student).state_dict()}, path)


if __name__ == "__main__":
    main()
