"""Reading a photo together with its mask or instance map."""

import numpy as np
import pytest
from PIL import Image

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.images import (
    EmptyMaskError,
    FullMaskError,
    ImageError,
    MaskError,
    MaskSizeError,
    MissingMaskError,
    OrientationError,
    PhotoSizeError,
    UnexpectedMaskError,
    read_instances,
    read_pair,
    read_record,
)
from boxpromptiml.images.pairs import turned

STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""EXIF orientation → transform from the displayed to the stored image, per the EXIF specification."""
WIDTH, HEIGHT = 60, 40
MARKED = np.zeros((HEIGHT, WIDTH), bool)
MARKED[5:15, 10:40] = True


def stored(picture, orientation):
    """The image as stored in the file."""
    image = Image.fromarray(picture)
    return image if STORED[orientation] is None else image.transpose(STORED[orientation])


def white(mask):
    return mask.astype(np.uint8) * 255


@pytest.fixture
def turned_photo(put):
    """Function that writes a photo, stored rotated, whose upright pixels are white where marked."""

    def make(orientation, marked=MARKED, suffix="png"):
        return put(f"photo.{suffix}", stored(np.dstack([white(marked)] * 3), orientation), orientation)

    return make


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_with_the_stored_size_is_rotated_with_its_photo(put, turned_photo, orientation, suffix):
    path = put("mask.png", stored(white(MARKED), orientation))
    photo, truth = read_pair(turned_photo(orientation, suffix=suffix), path)
    np.testing.assert_array_equal(truth.mask, MARKED)
    assert photo[truth.mask].mean() > 230
    assert photo[~truth.mask].mean() < 25
    assert f"orientation {orientation}" in truth.changed


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_with_the_displayed_size_is_not_rotated(put, turned_photo, orientation):
    _, truth = read_pair(turned_photo(orientation), put("mask.png", white(MARKED)))
    np.testing.assert_array_equal(truth.mask, MARKED)
    assert truth.changed == ""


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_with_its_own_exif_orientation_is_rotated_by_it(put, turned_photo, orientation):
    photo = turned_photo(orientation)
    for own in (1, orientation):
        path = put("mask.png", stored(white(MARKED), own), own)
        np.testing.assert_array_equal(read_pair(photo, path)[1].mask, MARKED)


@pytest.mark.parametrize(("orientation", "width"), [(2, 60), (3, 60), (4, 60), *((o, 40) for o in range(2, 9))])
def test_an_orientation_that_sizes_cannot_settle_is_refused(put, turned_photo, orientation, width):
    marked = MARKED[:, :width]
    path = put("mask.png", white(marked))
    with pytest.raises(OrientationError, match=rf"EXIF rotates the photo \(orientation {orientation}\)"):
        read_pair(turned_photo(orientation, marked), path)


def test_a_mask_invariant_to_the_rotation_is_accepted(put, turned_photo):
    even = np.zeros((HEIGHT, WIDTH), bool)
    even[10:30, 20:40] = True
    _, truth = read_pair(turned_photo(3, even), put("mask.png", white(even)))
    np.testing.assert_array_equal(truth.mask, even)


def test_a_mask_of_nearly_the_stored_shape_is_rotated_and_resized_on_request(put, turned_photo):
    photo = turned_photo(6)
    path = put("mask.png", stored(white(MARKED), 6).resize((HEIGHT // 2, WIDTH // 2)))
    with pytest.raises(MaskSizeError, match="20×30, but its image is 60×40"):
        read_pair(photo, path)
    _, truth = read_pair(photo, path, resize=True)
    assert (truth.mask != MARKED).mean() < 0.03
    assert "rotated" in truth.changed
    assert "from 30×20 to 60×40" in truth.changed


def test_a_mask_of_another_size_is_refused(put, turned_photo):
    with pytest.raises(
        MaskSizeError, match=r"mask is 61×40, but its image is 60×40; export the mask at the image's size"
    ):
        read_pair(turned_photo(1), put("mask.png", white(np.pad(MARKED, ((0, 0), (0, 1))))))
    with pytest.raises(MaskSizeError, match=r"a different shape \(EXIF rotates the image, orientation 6\)"):
        read_pair(turned_photo(6), put("mask.png", white(MARKED[:, :20])), resize=True)


def record(path, mask_path, **more):
    values = {"width": WIDTH, "height": HEIGHT, "boxes_xyxy": as_boxes([(10, 5, 40, 15)]), "split": "test"} | more
    return ImageRecord(1, path, source="set", mask_path=mask_path, **values)


@pytest.mark.parametrize(
    ("mask", "more", "kind"),
    [
        (MARKED & False, {}, EmptyMaskError),
        (MARKED | True, {}, FullMaskError),
        (MARKED, {"authentic": True, "boxes_xyxy": as_boxes([])}, UnexpectedMaskError),
        (MARKED, {"width": 61}, PhotoSizeError),
    ],
)
def test_a_record_must_agree_with_its_files(put, turned_photo, mask, more, kind):
    with pytest.raises(kind) as caught:
        read_record(record(turned_photo(1), put("mask.png", white(mask)), **more))
    assert isinstance(caught.value, ImageError)
    assert caught.value.code


def test_a_record_without_a_mask_has_no_ground_truth(turned_photo, put):
    path = turned_photo(1)
    assert read_record(record(path, None))[1] is None
    empty = put("mask.png", white(MARKED & False))
    assert not read_record(record(path, empty, authentic=True, boxes_xyxy=as_boxes([])))[1].any()


def test_every_mask_error_names_the_mask(put, turned_photo, tmp_path):
    photo = turned_photo(1)
    (tmp_path / "broken.png").write_bytes(b"text")
    for path, kind in ((tmp_path / "gone.png", MissingMaskError), (tmp_path / "broken.png", MaskError)):
        with pytest.raises(kind) as caught:
            read_pair(photo, path)
        assert str(caught.value).startswith(f"{path}: ")
        assert kind.code == caught.value.code


@pytest.mark.parametrize("mode", ["L", "I;16", "P"])
def test_an_instance_map_keeps_its_ids(put, mode):
    numbers = np.array([[0, 1, 2], [200, 0, 5]])
    array = numbers.astype(np.uint16 if mode == "I;16" else np.uint8)
    picture = Image.fromarray(array)
    if mode == "P":
        picture.putpalette([255 - i // 3 for i in range(768)])  # displayed colours differ from the ids
    _, found = read_instances(put("photo.png", np.zeros((2, 3, 3), np.uint8)), put("map.png", picture))
    np.testing.assert_array_equal(found, numbers)
    assert found.dtype == np.int32


def test_an_instance_map_is_rotated_with_its_photo(put):
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    numbers[5:15, 10:40] = 7
    photo = put("photo.jpg", stored(np.dstack([numbers] * 3), 8), 8)
    _, found = read_instances(photo, put("map.png", stored(numbers, 8)))
    np.testing.assert_array_equal(found, numbers)
    square = put("square.jpg", Image.new("RGB", (HEIGHT, HEIGHT)), 3)
    with pytest.raises(OrientationError, match="EXIF"):
        read_instances(square, put("map.png", numbers[:, :HEIGHT]))


def test_an_instance_map_of_another_size_or_with_colours_or_fractions_is_refused(put, photo):
    path = put("photo.png", photo)
    for picture, words in (
        (photo[:4, :5, 0], "the map is 5×4, but its image is 30×20"),
        (photo, "one channel"),
        (photo[..., 0] / np.float32(7), "fractions"),
    ):
        with pytest.raises(ImageError, match=words):
            read_instances(path, put("map.tif", picture))


def test_orientations_undo_each_other():
    grid = np.arange(6).reshape(2, 3)
    for orientation, inverse in ((2, 2), (3, 3), (4, 4), (5, 5), (6, 8), (7, 7), (8, 6)):
        once = turned(grid, orientation)
        np.testing.assert_array_equal(turned(once, inverse), grid)
