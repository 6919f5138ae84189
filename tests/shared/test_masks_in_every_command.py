"""A mask refused by one command is refused by all: every kind of mask through every command.

Each function ``at_<command>`` returns the reason why the command skips an image with its mask, or "" if it uses it.
`validate`, `calibrate` and `audit` read what `pseudomasks` stored; their tests cover ground truth from older caches.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxpromptiml import images
from boxpromptiml.apps.report.page import case_rows
from boxpromptiml.apps.run_results import Case, Results, Scores
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord, SetAside
from boxpromptiml.datasets.check.command import check
from boxpromptiml.datasets.prepare import prepare
from boxpromptiml.datasets.redraw import redraw
from boxpromptiml.manifests.manifest import write_manifest
from stage1_pseudomask.loading import Prompts
from stage2_distill.data.test_set import ScoredDataset, unscored

WIDTH, HEIGHT = 64, 48
BOX = as_boxes([(10, 8, 40, 30)])
MARKED = np.zeros((HEIGHT, WIDTH), bool)
MARKED[8:30, 10:40] = True
WHITE = MARKED.astype(np.uint8) * 255


def photo(side=WIDTH):
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, side, 3), np.uint8)


def palette(colour):
    picture = Image.fromarray(MARKED.astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, *colour])
    return picture


class Frames(tuple):
    """Several frames of one image file."""

    def __new__(cls, *pictures):
        return super().__new__(cls, pictures)

    def save(self, path):
        first, *others = map(Image.fromarray, self)
        first.save(path, save_all=True, append_images=others)


def turned(mask, orientation, side=WIDTH):
    return mask, {"orientation": orientation, "side": side}


SIDEWAYS = np.ascontiguousarray(np.rot90(WHITE, 1))  # as stored by a camera on its side, EXIF orientation 6

MASKS = {
    "white on black": (WHITE, ""),
    "two levels": (Image.fromarray(MARKED), ""),
    "white palette": (palette((255, 255, 255)), ""),
    "floats": (MARKED.astype(np.float32), ""),
    "full 16 bits": (MARKED.astype(np.uint16) * 65_535, ""),
    "turned with its photo": (turned(SIDEWAYS, 6), ""),
    "upright beside a turned photo": (turned(WHITE, 6), ""),
    "ones": (MARKED.astype(np.uint8), "brightest pixel is 1 of 255"),
    "VOC's palette": (palette((128, 0, 0)), "has colours"),
    "255 of 16 bits": (MARKED.astype(np.uint16) * 255, "255 of 65535"),
    "red": (np.dstack([WHITE, WHITE * 0, WHITE * 0]), "has colours"),
    "in alpha": (np.dstack([WHITE * 0 + 255] * 3 + [WHITE]), "transparent"),
    "in grey and alpha": (np.dstack([WHITE * 0 + 255, WHITE]), "transparent"),
    "a cutout": (np.dstack([photo(), WHITE]), "has colours"),
    "a grey cutout": (photo()[..., 0] * MARKED, "of the mask is grey"),
    "numbers of objects": (
        np.tri(HEIGHT, WIDTH, 5).astype(np.uint8) * 85 + WHITE // 3,
        "areas with 2 grey values (85, 170)",
    ),
    "unknown ground around it": (
        np.maximum(WHITE, 128 * np.roll(MARKED, 5, 0)).astype(np.uint8),
        "areas with 2 grey values",
    ),
    "of one grey": ((MARKED * 200).astype(np.uint8), ""),
    "frames of an animation": (Frames(WHITE, 255 - WHITE), "contains 2 pictures"),
    "floats to 255": (MARKED.astype(np.float32) * 255, "but only 0"),
    "whole numbers": (MARKED.astype(np.int32), "32-bit integer"),
    "empty": (WHITE * 0, "the mask is empty"),
    "full": (WHITE * 0 + 255, "marks all of"),
    "of another size": (WHITE[:, 1:], "the mask is 63×48"),
    "of another shape": (WHITE[:, :20], "a different shape"),
    "a photo upside down": (turned(WHITE, 3), "EXIF rotates the photo (orientation 3)"),
    "a square photo on its side": (turned(WHITE[:, :HEIGHT], 6, HEIGHT), "EXIF rotates the photo (orientation 6)"),
    "no image": (b"text", "not a readable image"),
    "missing": (None, "no such file"),
}


def at_prepare(record, folder, capsys):
    images.write_photo(folder / "photos/good.png", photo())
    images.write_mask(folder / "masks/good.png", MARKED)
    prepare(folder / "set.json", images=folder / "photos", masks=folder / "masks", workers=1)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("skipped: ")]
    return lines[0].replace("no mask named", "no such file:") if lines else ""


def at_check(record, folder, capsys):
    write_manifest(folder / "set.json", [record])
    check(folder / "set.json", shown=1, workers=1)
    found = json.loads((folder / "set-check/check.json").read_text())["findings"]
    return next((finding["text"] for finding in found if finding["code"] != "nothing_usable"), "")


def at_redraw(record, folder, capsys):
    other = ImageRecord(2, record.path, WIDTH, HEIGHT, as_boxes([]), "test", "set", authentic=True)
    write_manifest(folder / "set.json", [record, other])
    redraw(folder / "set.json", folder / "again.json", workers=1)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("skipped: ")]
    return lines[0] if lines else ""


def at_pseudomasks(record, folder, capsys):
    item = Prompts([record], 32, lambda prepared: prepared)[0]
    return item.reason if isinstance(item, SetAside) else ""


def at_test_and_robustness(record, folder, capsys):
    item = ScoredDataset([record], 32)[0]
    if item["problem"]:
        assert unscored(record) == item["problem"]
    else:
        np.testing.assert_array_equal(item["truth"].numpy(), MARKED)
    return item["problem"]


def at_report(record, folder, capsys):
    case = Case(str(record.path), 1, "set", str(record.mask_path), f1=0.5)
    results = Results(folder, None, None, None, None, None, Scores({}, [case]), None, None)
    (row,) = case_rows(results)["All"]
    return "" if row.pictures else row.missing


COMMANDS = [at_prepare, at_check, at_redraw, at_pseudomasks, at_test_and_robustness, at_report]


@pytest.fixture
def placed(tmp_path):
    """Function that saves a photo and the given mask in two folders and returns their record."""

    def place(given):
        mask, more = given if type(given) is tuple else (given, {})
        exif = Image.Exif()
        side = more.get("side", WIDTH)
        picture = Image.fromarray(photo(side))
        if orientation := more.get("orientation"):
            exif[274] = orientation
            picture = picture.transpose({3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation])
        for name in ("photos", "masks"):
            (tmp_path / name).mkdir()
        picture.save(tmp_path / "photos/odd.png", exif=exif)
        path = tmp_path / (
            "masks/odd.tif" if getattr(mask, "dtype", None) in (np.float32, np.int32) else "masks/odd.png"
        )
        if isinstance(mask, bytes):
            path.write_bytes(mask)
        elif mask is not None:
            (mask if hasattr(mask, "save") else Image.fromarray(mask)).save(path)
        return ImageRecord(1, tmp_path / "photos/odd.png", side, HEIGHT, BOX, "test", "set", Path(path))

    return place


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
@pytest.mark.parametrize("name", MASKS)
def test_every_command_uses_or_skips_the_same_masks(placed, tmp_path, capsys, command, name):
    given, words = MASKS[name]
    reason = command(placed(given), tmp_path, capsys)
    assert words in reason
    assert bool(reason) == bool(words), reason
