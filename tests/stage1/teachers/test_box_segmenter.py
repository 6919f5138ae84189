"""The box segmenter with the weights of the package."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from boxpromptiml.core.boxes import as_boxes, rasterize
from boxpromptiml.core.boxes_from_mask import boxes_from_mask
from boxpromptiml.core.records import InputError
from boxpromptiml.images import read_mask, read_photo, resize_photo
from stage1_pseudomask.teachers.box_network import BoxNetwork
from stage1_pseudomask.teachers.box_segmenter import PACKAGED, BoxSegmenter
from stage1_pseudomask.teachers.grabcut import GrabCut


def loaded(**options):
    teacher = BoxSegmenter(**options)
    teacher.load(torch.device("cpu"))
    return teacher


@pytest.fixture(scope="module")
def teacher():
    return loaded()


@pytest.fixture(scope="module")
def disk():
    """A photo (90, 120, 3), a disk of other colours in it, and a loose box around the disk."""
    rng = np.random.default_rng(0)
    photo = rng.integers(60, 110, (90, 120, 3), dtype=np.uint8)
    y, x = np.mgrid[:90, :120]
    mask = (x - 50) ** 2 + (y - 45) ** 2 <= 20**2
    photo[mask] = np.array([190, 120, 40]) + rng.integers(-20, 20, (mask.sum(), 3))
    return photo, mask, as_boxes([(26, 20, 75, 70)])


def proposed(teacher, photos, boxes, frames):
    return teacher.propose(teacher.embed(photos), boxes, frames)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_it_finds_an_object_much_better_than_its_box(teacher, disk):
    photo, mask, boxes = disk
    (found,) = proposed(teacher, [photo], [boxes], [(120, 90)])
    assert found.probability.shape == (1, 1, 90, 120)
    assert iou(found.probability[0, 0] > 0.5, mask) > 0.85 > iou(rasterize(boxes, 120, 90), mask) + 0.2
    assert 0.7 < found.scores[0, 0] <= 1


def test_images_may_have_any_number_of_boxes(teacher, disk):
    photo, _, boxes = disk
    many = np.concatenate([boxes + shift for shift in (0, 3, -3)])
    three, none, one = proposed(teacher, [photo] * 3, [many, boxes[:0], boxes], [(120, 90)] * 3)
    assert (three.probability.shape, none.probability.shape) == ((3, 1, 90, 120), (0, 1, 90, 120))
    np.testing.assert_allclose(three.probability[0], one.probability[0], atol=1e-4)
    few = proposed(loaded(boxes_at_once=2), [photo], [many], [(120, 90)])[0]
    np.testing.assert_allclose(few.probability, three.probability, atol=1e-4)


def test_masks_have_the_resolution_of_the_boxes(teacher, disk):
    photo, mask, boxes = disk
    (found,) = proposed(teacher, [photo], [boxes * 2], [(240, 180)])
    assert iou(found.probability[0, 0] > 0.5, mask.repeat(2, 0).repeat(2, 1)) > 0.8


def test_mirrored_photos_have_mirrored_masks(teacher, disk):
    """The average over a crop and its mirror image has no preferred side."""
    photo, _, boxes = disk
    (found,) = proposed(teacher, [photo], [boxes], [(120, 90)])
    mirrored = as_boxes([(120 - boxes[0, 2], boxes[0, 1], 120 - boxes[0, 0], boxes[0, 3])])
    (other,) = proposed(teacher, [np.ascontiguousarray(photo[:, ::-1])], [mirrored], [(120, 90)])
    assert np.abs(other.probability[..., ::-1] - found.probability).max() < 0.05


def test_the_box_is_the_mask_where_nothing_is_found(disk, monkeypatch):
    photo, _, boxes = disk
    teacher = loaded(flips=False)
    monkeypatch.setattr(teacher, "network", lambda crops, boxes: torch.full((len(crops), 1, 160, 160), -3.0))
    teacher.network.out = torch.nn.Conv2d(1, 1, 1)
    (found,) = proposed(teacher, [photo], [boxes], [(120, 90)])
    assert np.array_equal(found.probability[0, 0] > 0.5, rasterize(boxes, 120, 90))
    assert found.scores[0, 0] == 0


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (1, 1), (3, 2)])
def test_thin_photos_have_masks(teacher, shape):
    photo = np.full((*shape, 3), 90, np.uint8)
    height, width = shape
    (found,) = proposed(teacher, [photo], [as_boxes([(0, 0, width, height)])], [(width, height)])
    assert found.probability.shape == (1, 1, height, width)
    assert np.isfinite(found.probability).all()


def test_weights_of_ones_own_are_used_and_recorded(tmp_path, disk):
    photo, _, boxes = disk
    torch.manual_seed(1)
    save_file(BoxNetwork().state_dict(), tmp_path / "own.safetensors")
    own = loaded(weights=tmp_path / "own.safetensors")
    assert own.weights_sha256 != BoxSegmenter().weights_sha256
    (ours,), (theirs,) = (proposed(t, [photo], [boxes], [(120, 90)]) for t in (loaded(), own))
    assert not np.allclose(ours.probability, theirs.probability)


@pytest.mark.parametrize("content", [b"", b"not weights", None])
def test_other_files_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "other.safetensors"
    if content is None:
        save_file({"other": torch.zeros(1)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"not weights of the box segmenter .* correct --teacher.weights") as caught:
        loaded(weights=path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        BoxSegmenter(tmp_path / "none").weights_sha256  # noqa: B018


def test_large_photos_are_shrunk_first():
    photo = np.zeros((600, 900, 3), np.uint8)
    prepared = BoxSegmenter().preparation()(photo)
    np.testing.assert_array_equal(prepared, resize_photo(photo, 512, 341))


def test_the_weights_are_small():
    assert PACKAGED.stat().st_size < 4e6


def test_masks_of_real_forgeries_are_better_than_those_of_grabcut(lab, teacher):
    folder, rng = lab / "forgeries/casia1", np.random.default_rng(0)
    scores = []
    for path in sorted((folder / "images").iterdir())[::12]:
        photo, truth = read_photo(path), read_mask(folder / "masks" / f"{path.stem}.png")
        height, width = truth.shape
        boxes = boxes_from_mask(truth, rng, looseness=0.15)
        both = [proposed(each, [photo], [boxes], [(width, height)])[0] for each in (teacher, GrabCut())]
        scores.append([iou((found.probability > 0.5).any((0, 1)), truth) for found in both])
    ours, grabcut = np.mean(scores, axis=0)
    assert ours > grabcut + 0.02
