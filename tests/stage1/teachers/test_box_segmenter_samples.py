"""Regions and objects become augmented crops."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from boxpromptiml import images
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord, InputError
from boxpromptiml.manifests.manifest import write_manifest
from stage1_pseudomask.teachers.box_segmenter_samples import LONGEST, drawn, objects_of, regions_of

PHOTO = np.full((300, 400, 3), 70, np.uint8)
MASK = np.zeros((300, 400), bool)
MASK[20:290, 60:90] = True


@pytest.fixture
def manifest(tmp_path):
    images.write_photo(tmp_path / "a.png", PHOTO)
    images.write_mask(tmp_path / "a_mask.png", MASK)
    record = ImageRecord(1, tmp_path / "a.png", 400, 300, as_boxes([(50, 10, 100, 295)]), "train", "x")
    write_manifest(tmp_path / "with.json", [replace(record, mask_path=tmp_path / "a_mask.png")])
    write_manifest(tmp_path / "without.json", [record])
    return tmp_path / "with.json"


def test_regions_are_cut_out_with_surroundings_and_shrunk(manifest):
    (region,) = regions_of(manifest)
    x1, y1, x2, y2 = region.box_xyxy
    assert y2 - y1 == pytest.approx(LONGEST, abs=1)
    assert region.mask.shape == region.photo.shape[:2]
    assert region.mask[int(y1 + 2) : int(y2 - 2), int(x1 + 2) : int(x2 - 2)].all()
    assert region.mask.sum() == pytest.approx((x2 - x1) * (y2 - y1), rel=0.05)
    with pytest.raises(InputError, match="no image of the train split has a mask"):
        regions_of(manifest.with_name("without.json"))


def test_objects_are_regions(tmp_path):
    for folder, pixels in (("images", PHOTO), ("instances", 3 * MASK.astype(np.uint8))):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    (region,) = objects_of(tmp_path)
    assert region.mask.any()
    Image.fromarray(np.zeros((300, 400), np.uint8)).save(tmp_path / "instances/a.png")
    with pytest.raises(InputError, match="no object has more than"):
        objects_of(tmp_path)


def test_samples_hold_the_region_in_a_coarse_box(manifest):
    (region,), rng = regions_of(manifest), np.random.default_rng(0)
    for _ in range(30):
        sample = drawn(region, rng)
        assert sample.crop.shape == (160, 160, 3)
        x1, y1, x2, y2 = (160 * sample.box_xyxy).tolist()
        rows, columns = np.flatnonzero(sample.mask.any(1)), np.flatnonzero(sample.mask.any(0))
        inwards = 0.03 * 160 + 2
        assert x1 - inwards <= columns[0] <= columns[-1] <= x2 + inwards
        assert y1 - inwards <= rows[0] <= rows[-1] <= y2 + inwards
        assert not (sample.mask & ~sample.counts).any()
