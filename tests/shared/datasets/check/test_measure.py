from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from boxpromptiml import images
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.datasets.check.measure import measure
from boxpromptiml.runtime.provenance import file_sha256


def test_fractions_match_a_hand_computed_case(clean):
    facts = measure(replace(clean.records[0], boxes_xyxy=as_boxes([(24, 20, 38, 48), (60, 0, 90, 10)])))
    assert facts.problem == ""
    assert facts.mask_share == pytest.approx(28 * 28 / (96 * 80))
    assert facts.box_share == pytest.approx((14 * 28 + 30 * 10) / (96 * 80))
    assert facts.outside_share == pytest.approx(0.5)
    assert facts.empty_boxes == 1
    assert facts.sha256 == file_sha256(clean.folder / "1.png")


def test_an_authentic_image_has_no_fractions(clean):
    facts = measure(clean.records[2])
    assert (facts.mask_share, facts.box_share, facts.outside_share, facts.empty_boxes) == (None, 0, 0, 0)


def test_sizes_are_those_of_the_upright_image(clean):
    """As of a camera held on its side: 80×96 pixels in the file, displayed as 96×80."""
    turned = Image.fromarray(np.rot90(images.read_photo(clean.folder / "1.png")).copy())
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(clean.folder / "turned.jpg", exif=exif)
    assert measure(replace(clean.records[0], path=clean.folder / "turned.jpg")).problem == ""


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_not_an_image_is_reported(clean, content):
    (clean.folder / "1.png").write_bytes(content)
    facts = measure(clean.records[0])
    assert facts.problem == "unreadable_file"
    assert facts.detail
    assert facts.fingerprint is None


def test_problems_name_the_sizes(clean):
    facts = measure(replace(clean.records[0], height=90))
    assert (facts.problem, facts.detail) == (
        "size_mismatch",
        "the image is 96×80 but the manifest says 96×90; "
        "correct the manifest, and draw the boxes again if they were drawn at another size",
    )
    images.write_mask(clean.folder / "1_mask.png", np.ones((40, 96), bool))
    facts = measure(clean.records[0])
    assert facts.problem == "mask_size_mismatch"
    assert "1_mask.png: the mask is 96×40, but its image is 96×80" in facts.detail
