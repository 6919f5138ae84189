"""Score the student with IMDLBenCo's data set, tester and metrics, in IMDLBenCo's environment; prints JSON."""

import contextlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from IMDLBenCo.datasets import JsonDataset
from IMDLBenCo.evaluation import ImageAUC, PixelAUC, PixelF1, PixelIOU
from IMDLBenCo.registry import MODELS
from IMDLBenCo.training_scripts.tester.tester import test_one_epoch, test_one_loader
from IMDLBenCo.training_scripts.utils.misc import MetricLogger
from torch.utils.data import DataLoader

import stage2_distill.inference.imdlbenco
from boxpromptiml.core.records import InputError

CPU = torch.device("cpu")
PLAIN = SimpleNamespace(no_model_eval=False, distributed=False, test_batch_size=1)


def scored(model, listed, side, padded):
    """Means of IMDLBenCo's pixel metrics over manipulated images, and image AUC over all images."""

    def loader(name):
        dataset = JsonDataset(str(listed / name), padded, not padded, (side, side))
        return DataLoader(dataset, batch_size=1)

    pixels = [PixelF1(0.5), PixelIOU(0.5), PixelAUC()]
    found = test_one_epoch(model, loader("manipulated.json"), pixels, CPU, 0, args=PLAIN)
    # Without CUDA, image-level metrics work only as for the remainder that is not distributed over processes.
    whole, logger = ImageAUC(), MetricLogger()
    test_one_loader(model, loader("all.json"), [whole], CPU, logger, if_remain=True, args=PLAIN)
    return {"f1": found["pixel-level F1"], "iou": found["pixel-level IOU"], "auc": found["pixel-level AUC"]} | {
        "image_auc": float(whole.epoch_update())
    }


def learned(model, listed, side):
    """Train a few steps on one batch; returns the losses and the error for padded images."""
    images = DataLoader(JsonDataset(str(listed / "manipulated.json"), is_resizing=True, output_size=(side, side)), 2)
    batch, losses = next(iter(images)), []
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    for _ in range(3):
        answer = model(**batch)
        optimizer.zero_grad()
        answer["backward_loss"].backward()
        optimizer.step()
        losses.append(answer["backward_loss"].item())
    try:
        model(**batch, shape_mask=batch["mask"])
    except InputError as error:
        return {"losses": losses, "plots": sorted(answer["visual_loss"]), "refused": str(error)}
    return {"losses": losses}


def main():
    """Print all results that the test compares."""
    listed, padding = Path(sys.argv[1]), int(sys.argv[2])
    with contextlib.redirect_stdout(sys.stderr):
        model = MODELS.get("BoxPromptIML")()
        side = model.localizer.student.image_size
        weights = torch.load(listed / "checkpoint-0.pth", weights_only=True)["model"]
        model.load_state_dict(weights)
        results = {
            "module": stage2_distill.inference.imdlbenco.__name__,
            "padded": scored(model, listed, padding, padded=True),
            "resized": scored(model, listed, side, padded=False),
            "learned": learned(model, listed, side),
        }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
