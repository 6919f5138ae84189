"""A photo gives the same pixels in every input form."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from boxpromptiml.images import ImageError, read_photo
from stage2_distill.inference.given_photo import pixels_of


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_files_bytes_images_and_arrays_agree(photo, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    forms = (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), Image.open(path), photo)
    for given in forms:
        np.testing.assert_array_equal(pixels_of(given), photo)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"])
def test_a_pil_image_is_read_as_displayed(photo, mode):
    image = Image.fromarray(photo)
    try:
        given = image.convert(mode)
    except ValueError:
        given = image.convert("L").convert(mode) if mode in ("LA", "PA") else Image.new(mode, image.size)
    found = pixels_of(given)
    assert found.shape == (20, 30, 3)
    expected = np.asarray(given.convert("RGB"))
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=1)


@pytest.mark.parametrize(("mode", "dtype", "white"), [("I;16", np.uint16, 60000), ("F", np.float32, 1)])
def test_a_pil_image_with_more_than_8_bits_is_read_like_its_file(mode, dtype, white, tmp_path):
    image = Image.fromarray(np.linspace(0, white, 600).reshape(20, 30).astype(dtype))
    assert image.mode == mode
    image.save(tmp_path / "deep.tif")
    np.testing.assert_array_equal(pixels_of(image), read_photo(tmp_path / "deep.tif"))


@pytest.mark.parametrize("values", [np.arange(600, dtype=np.int32), np.linspace(0, 255, 600, dtype=np.float32)])
def test_a_pil_image_of_unknown_range_is_refused_like_its_file(values):
    with pytest.raises(ImageError, match=r"the photo: .*; "):
        pixels_of(Image.fromarray(values.reshape(20, 30)))


def test_a_rotated_pil_image_is_made_upright_like_its_file(photo, tmp_path):
    image = Image.fromarray(photo)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        found = pixels_of(opened)
    assert found.shape == (30, 20, 3)
    np.testing.assert_array_equal(found, read_photo(tmp_path / "turned.png"))


def test_a_palette_with_a_transparent_colour_keeps_its_colours(photo):
    image = Image.fromarray(photo).quantize(16)
    image.info["transparency"] = 3
    np.testing.assert_array_equal(pixels_of(image), np.asarray(image.convert("RGBA"))[..., :3])


def test_grey_and_alpha_arrays(photo):
    grey = photo[..., 0]
    for given in (grey, grey[..., None]):
        np.testing.assert_array_equal(pixels_of(given), np.stack([grey] * 3, 2))
    np.testing.assert_array_equal(pixels_of(np.dstack([photo, grey])), photo)


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint16),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        b"",
        b"GIF89a nothing",
        None,
        [[1, 2], [3, 4]],
    ],
)
def test_other_input_is_refused_in_one_line(given):
    with pytest.raises(ImageError, match=r"the photo") as refused:
        pixels_of(given)
    assert "; " in str(refused.value)


def test_a_truncated_pil_image_is_refused(tmp_path):
    stream = io.BytesIO()
    image = Image.new("RGB", (200, 200))
    ImageDraw.Draw(image).line((0, 0, 200, 200), fill="red")
    image.save(stream, "PNG")
    with pytest.raises(ImageError, match="cannot be decoded"):
        pixels_of(Image.open(io.BytesIO(stream.getvalue()[:150])))


@pytest.mark.parametrize("mode", ["I;16B", "I;16L", "I;16N"])
def test_every_byte_order_of_16_bits_is_read_alike(mode):
    values = np.linspace(0, 60000, 600).reshape(20, 30).astype(np.uint16)
    order = {"I;16B": ">u2", "I;16L": "<u2", "I;16N": "=u2"}[mode]
    given = Image.frombytes(mode, (30, 20), values.astype(order).tobytes())
    np.testing.assert_array_equal(pixels_of(given), pixels_of(Image.fromarray(values)))
