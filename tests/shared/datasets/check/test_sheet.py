import numpy as np
import pytest
from PIL import Image

from boxpromptiml.datasets.check.assess import assess
from boxpromptiml.datasets.check.sheet import draw_sheet
from boxpromptiml.images.visualization import BOX_COLOUR
from boxpromptiml.manifests.manifest import read_manifest


@pytest.fixture
def drawn(clean, limits):
    def draw(shown=6):
        entries = [clean.entry(record.image_id) for record in clean.records]
        report = assess([read_manifest(clean.write())], entries, limits)
        draw_sheet(report, entries, shown, clean.folder / "out/check.png")
        return np.asarray(Image.open(clean.folder / "out/check.png").convert("RGB")).astype(int)

    return draw


def test_valid_images_are_shown_with_boxes_and_masks(drawn):
    picture = drawn()
    assert (np.abs(picture - BOX_COLOUR).sum(2) < 30).sum() > 400
    assert picture.shape[0] < 260 < picture.shape[1]  # one row


def test_a_pair_of_images_is_side_by_side(drawn, clean, scene):
    before = drawn().shape[0]
    clean.add(scene(0), "val")
    picture = drawn()
    left, right = (picture[before + 60 : before + 160, x : x + 190] for x in (5, 205))
    assert np.abs(left - right).mean() < 3
    assert left.std() > 20


def test_findings_without_an_image_are_listed_without_a_panel(drawn, clean):
    before = drawn().shape[0]
    (clean.folder / "1.png").unlink()
    (clean.folder / "2.png").write_bytes(b"")
    after = drawn().shape[0]
    assert before < after < before + 100


def test_the_sheet_stays_short_whatever_is_found(drawn, clean):
    for image_id in (1, 2, 4, 5, 7, 8):
        clean.change(image_id, width=90)
    assert drawn(shown=2).shape[0] < drawn(shown=6).shape[0] + 1
    assert drawn(shown=0).shape[0] < 200


def test_file_names_are_not_parsed_as_formulas(drawn, clean):
    """Matplotlib reads text between dollar signs as a formula, here an invalid one."""
    (clean.folder / r"$\frac$.png").write_bytes((clean.folder / "1.png").read_bytes())
    clean.change(1, path=clean.folder / r"$\frac$.png")
    (clean.folder / "2.png").rename(clean.folder / r"$\a$.png")
    assert drawn().std() > 10
