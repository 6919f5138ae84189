import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from boxpromptiml import images
from boxpromptiml.images import ImageError, read_mask, read_photo, read_size


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def saved(path, array_or_image, **options):
    image = array_or_image if isinstance(array_or_image, Image.Image) else Image.fromarray(array_or_image)
    image.save(path, **options)
    return path


def refused(path, *words, read=read_photo):
    """The one line a reader refuses a file with; it names the file."""
    with pytest.raises(ImageError) as caught:
        read(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    for word in words:
        assert word in line


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".ppm"])
def test_lossless_formats_give_back_every_pixel(tmp_path, photo, suffix):
    path = saved(tmp_path / f"photo{suffix}", photo, **({"lossless": True} if suffix == ".webp" else {}))
    np.testing.assert_array_equal(read_photo(path), photo)


def test_written_photos_and_masks_read_back(tmp_path, photo):
    images.write_photo(tmp_path / "photo.png", photo)
    np.testing.assert_array_equal(read_photo(tmp_path / "photo.png"), photo)
    mask = photo[..., 0] > 100
    images.write_mask(tmp_path / "mask.png", mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", (30, 20)), mask)
    probability = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    images.write_probability(tmp_path / "probability.png", probability)
    stored = np.asarray(Image.open(tmp_path / "probability.png"))
    assert np.abs(stored / 255 - probability).max() <= 0.5 / 255 + 1e-6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mask.png", "photo.png", "probability.png"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, photo):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match=r"photo\.png: cannot be written"):
        images.write_photo(tmp_path / "file" / "photo.png", photo)


def test_a_disk_that_fills_up_leaves_the_old_file_whole(tmp_path, photo, monkeypatch):
    images.write_photo(tmp_path / "photo.png", photo)

    def fill_up(self, path, **options):
        path.write_bytes(b"half a fi")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fill_up)
    with pytest.raises(ImageError, match="No space left on device"):
        images.write_photo(tmp_path / "photo.png", photo // 2)
    np.testing.assert_array_equal(read_photo(tmp_path / "photo.png"), photo)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]


def test_truncated_files_are_refused(tmp_path, photo):
    for name in ("photo.jpg", "photo.png"):
        path = saved(tmp_path / name, np.kron(photo, np.ones((8, 8, 1), np.uint8)))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        refused(path, "cut off")


def test_files_without_an_image_are_refused(tmp_path):
    (tmp_path / "empty.jpg").touch()
    refused(tmp_path / "empty.jpg", "empty")
    (tmp_path / "text.png").write_text("<html>404</html>")
    refused(tmp_path / "text.png", "not an image")
    refused(tmp_path / "nowhere.png", "no such file")
    refused(tmp_path, "is a folder")


def test_a_jpeg_named_png_is_read_as_what_it_is(tmp_path, photo):
    path = saved(tmp_path / "photo.png", photo, format="JPEG", quality=95)
    np.testing.assert_array_equal(read_photo(path), np.asarray(Image.open(path)))


def test_16_bit_is_scaled_to_8(tmp_path):
    values = np.array([[0, 255, 256], [32768, 40000, 65535]], np.uint16)
    for name in ("grey.png", "grey.tif"):
        path = saved(tmp_path / name, values)
        np.testing.assert_array_equal(read_photo(path)[..., 1], values >> 8)
        np.testing.assert_array_equal(read_mask(path), values >= 32768)


def test_cmyk_becomes_rgb(tmp_path):
    path = saved(tmp_path / "print.jpg", Image.new("CMYK", (9, 7), (0, 255, 255, 0)), quality=95)
    red, green, blue = read_photo(path)[3, 4].astype(int)
    assert red > 200
    assert max(green, blue) < 60


def test_palette_grey_and_alpha_become_rgb(tmp_path, photo):
    grey = saved(tmp_path / "grey.png", photo[..., 0])
    np.testing.assert_array_equal(read_photo(grey), np.repeat(photo[..., :1], 3, axis=2))
    alpha = saved(tmp_path / "alpha.png", np.dstack([photo, photo[..., 0]]))
    np.testing.assert_array_equal(read_photo(alpha), photo)
    palette = Image.fromarray(photo // 64 * 64).quantize(256)
    np.testing.assert_array_equal(
        read_photo(saved(tmp_path / "palette.png", palette)), np.asarray(palette.convert("RGB"))
    )
    clear = saved(tmp_path / "clear.png", palette, transparency=bytes(range(256)))
    np.testing.assert_array_equal(read_photo(clear), np.asarray(palette.convert("RGB")))
    two_level = saved(tmp_path / "fax.tif", Image.fromarray(photo[..., 0] > 100))
    np.testing.assert_array_equal(read_photo(two_level)[..., 2], (photo[..., 0] > 100) * 255)


def test_palette_masks_are_read_by_their_shown_value(tmp_path):
    mask = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    mask.putpalette([0, 0, 0, 255, 255, 255, 100, 100, 100])
    assert read_mask(saved(tmp_path / "mask.png", mask)).tolist() == [[False, True, False]]


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "green")]
    for name in ("moving.gif", "pages.tif"):
        path = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
        np.testing.assert_array_equal(read_photo(path)[0, 0], (255, 0, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(tmp_path, orientation):
    """The corner that a viewer shows at the top left, for each EXIF orientation, by the EXIF specification."""
    shown_corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (-1, 0), 7: (-1, -1), 8: (0, -1)}
    stored = np.zeros((16, 24, 3), np.uint8)
    row, column = shown_corner[orientation]
    stored[row, column] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "photo.png", stored, exif=exif)
    upright = read_photo(path)
    assert upright.shape[:2] == ((24, 16) if orientation > 4 else (16, 24))
    assert upright[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".bmp", ".gif"])
def test_sizes_are_those_of_the_upright_photo(tmp_path, photo, suffix):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = saved(
            tmp_path / f"{orientation}{suffix}", photo, **({} if suffix in (".bmp", ".gif") else {"exif": exif})
        )
        height, width = read_photo(path).shape[:2]
        assert read_size(path) == (width, height)


def test_sizes_need_no_pixels(tmp_path, photo):
    path = saved(tmp_path / "photo.png", np.kron(photo, np.ones((8, 8, 1), np.uint8)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert read_size(path) == (240, 160)
    path.write_bytes(b"")
    refused(path, "the file is empty", read=read_size)


def test_one_pixel_is_a_photo(tmp_path):
    path = saved(tmp_path / "dot.png", np.full((1, 1, 3), 7, np.uint8))
    assert read_photo(path).tolist() == [[[7, 7, 7]]]


def bomb(path, side):
    """A PNG of a few bytes whose header claims side × side pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("side", [12_000, 30_000])
def test_decompression_bombs_are_refused_before_decoding(tmp_path, side):
    refused(bomb(tmp_path / "bomb.png", side), "120,000,000", "BOXPROMPTIML_MAX_PIXELS")


def test_the_pixel_limit_can_be_moved(tmp_path, photo, monkeypatch):
    path = saved(tmp_path / "photo.png", photo)
    monkeypatch.setenv("BOXPROMPTIML_MAX_PIXELS", "599")
    refused(path, "30×20", "599")
    monkeypatch.setenv("BOXPROMPTIML_MAX_PIXELS", "600")
    assert read_photo(path).shape == (20, 30, 3)
    monkeypatch.setenv("BOXPROMPTIML_MAX_PIXELS", "1000000000")  # above Pillow's own limit as well
    refused(bomb(tmp_path / "scan.png", 14_000), "cut off")


@pytest.mark.parametrize("value", ["many", "0", "-5"])
def test_a_pixel_limit_that_is_no_number_is_named(tmp_path, photo, monkeypatch, value):
    monkeypatch.setenv("BOXPROMPTIML_MAX_PIXELS", value)
    with pytest.raises(ImageError, match="BOXPROMPTIML_MAX_PIXELS"):
        read_photo(saved(tmp_path / "photo.png", photo))


def test_a_mask_of_another_size_is_refused(tmp_path):
    path = saved(tmp_path / "mask.png", np.zeros((10, 12), np.uint8))
    refused(path, "12×10", "13×10", read=lambda p: read_mask(p, (13, 10)))


def test_resized_masks_keep_their_area():
    mask = np.zeros((90, 120), bool)
    mask[30:60, 40:80] = True
    for width, height in ((60, 45), (40, 30), (240, 180), (97, 61)):
        resized = images.resize_mask(mask, width, height)
        assert resized.shape == (height, width)
        assert resized.mean() == pytest.approx(mask.mean(), abs=0.02)


def test_resized_photos_and_probabilities_keep_size_range_and_mean(photo):
    assert images.resize_photo(photo, 30, 20) is photo
    assert images.resize_photo(photo, 15, 10).mean() == pytest.approx(photo.mean(), abs=2)
    probability = photo[..., 0].astype(np.float32) / 255
    for width, height in ((15, 10), (90, 60)):
        resized = images.resize_probability(probability, width, height)
        assert resized.shape == (height, width)
        assert resized.min() >= 0
        assert resized.max() <= 1
        assert resized.mean() == pytest.approx(probability.mean(), abs=0.02)


def test_jpeg_round_trip_loses_more_at_lower_quality(photo):
    losses = [np.abs(images.jpeg_round_trip(photo, q).astype(int) - photo).mean() for q in (95, 70, 30)]
    assert 0 < losses[0] < losses[1] < losses[2]


def test_folders_are_listed_with_subfolders_in_one_order(tmp_path, photo):
    (tmp_path / "b").mkdir()
    for name in ("b/2.png", "a.JPG", "b/1.tif", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.relative_to(tmp_path).as_posix() for p in images.list_images(tmp_path)] == ["a.JPG", "b/1.tif", "b/2.png"]
    with pytest.raises(ImageError, match="no such folder"):
        images.list_images(tmp_path / "nowhere")


@pytest.mark.parametrize("mode", ["L", "I;16", "P"])
def test_an_instance_map_keeps_its_numbers(tmp_path, mode):
    numbers = np.array([[0, 1, 2], [200, 0, 5]])
    array = numbers.astype(np.uint16 if mode == "I;16" else np.uint8)
    picture = Image.fromarray(array)
    if mode == "P":
        picture.putpalette([255 - i // 3 for i in range(768)])  # the shown colours are others than the numbers
    found = images.read_instances(saved(tmp_path / "map.png", picture), (2, 3))
    np.testing.assert_array_equal(found, numbers)
    assert found.dtype == np.int32


def test_an_instance_map_of_another_size_or_with_colours_is_refused(tmp_path, photo):
    refused(saved(tmp_path / "map.png", photo[..., 0]), "30×20", "5×4", read=lambda p: images.read_instances(p, (4, 5)))
    refused(saved(tmp_path / "rgb.png", photo), "one channel", read=lambda p: images.read_instances(p, (20, 30)))


def test_content_is_decoded_as_a_file_is(tmp_path, photo):
    path = saved(tmp_path / "photo.jpg", photo)
    np.testing.assert_array_equal(images.decode_photo(path.read_bytes(), "photo.jpg", 600), read_photo(path))
    for content, kind, words in [
        (path.read_bytes(), images.TooLargeError, r"^mine: 30×20 pixels, more than the limit of 599; shrink it$"),
        (b"GIF8", images.NotAnImageError, r"^mine: not an image that can be read; send a photo$"),
        (b"", ImageError, r"^mine: the file is empty; send a photo$"),
    ]:
        with pytest.raises(kind, match=words):
            images.decode_photo(content, "mine", 599)


def test_no_file_is_run_as_a_program(tmp_path):
    """Pillow hands EPS to Ghostscript, whatever the file is called."""
    Image.new("RGB", (9, 7)).save(tmp_path / "photo.eps")
    (tmp_path / "photo.eps").rename(tmp_path / "photo.jpg")
    refused(tmp_path / "photo.jpg", "not an image that can be read")


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    refused(tmp_path / "pipe.jpg", "is no file but a pipe or a device")
    (tmp_path / "ring.jpg").symlink_to(tmp_path / "ring.jpg")
    refused(tmp_path / "ring.jpg", "cannot be opened")
    refused(tmp_path / ("x" * 300), "cannot be opened")
    with pytest.raises(ImageError, match=r"zero\\x00byte.jpg: cannot be opened"):
        read_photo(tmp_path / "zero\0byte.jpg")
    with pytest.raises(ImageError, match=r"two lines\\x1b\[31m.jpg: no such file"):
        read_photo(tmp_path / "two\nlines\x1b[31m.jpg")
