import os
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from boxpromptiml import images
from boxpromptiml.images import ImageError, read_mask, read_photo, read_size


def saved(path, array_or_image, **options):
    image = array_or_image if isinstance(array_or_image, Image.Image) else Image.fromarray(array_or_image)
    image.save(path, **options)
    return path


def refused(path, *words, read=read_photo):
    """Assert that a file is refused in one line that begins with its path and contains the given words."""
    with pytest.raises(ImageError) as caught:
        read(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    for word in words:
        assert word in line


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".ppm"])
def test_lossless_formats_preserve_every_pixel(tmp_path, photo, suffix):
    path = saved(tmp_path / f"photo{suffix}", photo, **({"lossless": True} if suffix == ".webp" else {}))
    np.testing.assert_array_equal(read_photo(path), photo)


def test_truncated_files_are_refused(tmp_path, photo):
    for name in ("photo.jpg", "photo.png"):
        path = saved(tmp_path / name, np.kron(photo, np.ones((8, 8, 1), np.uint8)))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        refused(path, "cut off")


def test_files_without_an_image_are_refused(tmp_path):
    (tmp_path / "empty.jpg").touch()
    refused(tmp_path / "empty.jpg", "empty")
    (tmp_path / "text.png").write_text("<html>404</html>")
    refused(tmp_path / "text.png", "not a readable image")
    refused(tmp_path / "nowhere.png", "no such file")
    refused(tmp_path, "is a folder")


def test_a_jpeg_named_png_is_read_by_its_content(tmp_path, photo):
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


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "green")]
    for name in ("moving.gif", "pages.tif"):
        path = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
        np.testing.assert_array_equal(read_photo(path)[0, 0], (255, 0, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_rotated_upright(tmp_path, orientation):
    """Checks which corner is displayed at the top left for each orientation, per the EXIF specification."""
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


def test_sizes_are_read_without_decoding(tmp_path, photo):
    path = saved(tmp_path / "photo.png", np.kron(photo, np.ones((8, 8, 1), np.uint8)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert read_size(path) == (240, 160)
    path.write_bytes(b"")
    refused(path, "the file is empty", read=read_size)


def test_orientation_after_the_pixels_of_a_png_counts(tmp_path, photo):
    path = saved(tmp_path / "late.png", photo)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    late = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    content = path.read_bytes()
    path.write_bytes(content[:-12] + late + content[-12:])  # before the last chunk
    height, width = read_photo(path).shape[:2]
    assert (height, width) == photo.shape[1::-1]
    assert read_size(path) == (width, height)


def test_a_photo_of_one_pixel_is_read(tmp_path):
    path = saved(tmp_path / "dot.png", np.full((1, 1, 3), 7, np.uint8))
    assert read_photo(path).tolist() == [[[7, 7, 7]]]


def bomb(path, side):
    """A PNG of a few bytes whose header declares side × side pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("side", [12_000, 30_000])
def test_decompression_bombs_are_refused_before_decoding(tmp_path, side):
    refused(bomb(tmp_path / "bomb.png", side), "120,000,000", "BOXPROMPTIML_MAX_PIXELS")


def test_the_pixel_limit_can_be_changed(tmp_path, photo, monkeypatch):
    path = saved(tmp_path / "photo.png", photo)
    monkeypatch.setenv("BOXPROMPTIML_MAX_PIXELS", "599")
    refused(path, "30×20", "599")
    monkeypatch.setenv("BOXPROMPTIML_MAX_PIXELS", "600")
    assert read_photo(path).shape == (20, 30, 3)
    monkeypatch.setenv("BOXPROMPTIML_MAX_PIXELS", "1000000000")  # above Pillow's own limit as well
    refused(bomb(tmp_path / "scan.png", 14_000), "cut off")


@pytest.mark.parametrize("value", ["many", "0", "-5"])
def test_an_invalid_pixel_limit_is_named(tmp_path, photo, monkeypatch, value):
    monkeypatch.setenv("BOXPROMPTIML_MAX_PIXELS", value)
    with pytest.raises(ImageError, match="BOXPROMPTIML_MAX_PIXELS"):
        read_photo(saved(tmp_path / "photo.png", photo))


def test_bytes_are_decoded_like_a_file(tmp_path, photo):
    path = saved(tmp_path / "photo.jpg", photo)
    np.testing.assert_array_equal(images.decode_photo(path.read_bytes(), "photo.jpg", 600), read_photo(path))
    for content, kind, words in [
        (path.read_bytes(), images.TooLargeError, r"^mine: 30×20 pixels, more than the limit of 599; shrink it$"),
        (b"GIF8", images.NotAnImageError, r"^mine: not a readable image; send a photo$"),
        (b"", ImageError, r"^mine: the file is empty; send a photo$"),
    ]:
        with pytest.raises(kind, match=words):
            images.decode_photo(content, "mine", 599)


def test_no_file_is_executed(tmp_path):
    """Pillow passes EPS content to Ghostscript, whatever the file name."""
    Image.new("RGB", (9, 7)).save(tmp_path / "photo.eps")
    (tmp_path / "photo.eps").rename(tmp_path / "photo.jpg")
    refused(tmp_path / "photo.jpg", "not a readable image")


def test_a_pipe_or_device_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    refused(tmp_path / "pipe.jpg", "is a pipe or a device")
    (tmp_path / "ring.jpg").symlink_to(tmp_path / "ring.jpg")
    refused(tmp_path / "ring.jpg", "cannot be opened")
    refused(tmp_path / ("x" * 300), "cannot be opened")
    with pytest.raises(ImageError, match=r"zero\\x00byte.jpg: cannot be opened"):
        read_photo(tmp_path / "zero\0byte.jpg")
    with pytest.raises(ImageError, match=r"two lines\\x1b\[31m.jpg: no such file"):
        read_photo(tmp_path / "two\nlines\x1b[31m.jpg")


WIDE = np.arange(0, 65_536, 256, dtype=np.uint16).reshape(16, 16)


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "grey.jp2", "grey.pgm"])
def test_16_bit_images_are_scaled_by_their_range(tmp_path, name):
    if name == "grey.pgm":  # needs Pillow 11 to write it
        (tmp_path / name).write_bytes(b"P5 16 16 65535\n" + WIDE.astype(">u2").tobytes())
    else:
        saved(tmp_path / name, WIDE)
    found = read_photo(tmp_path / name)
    assert np.abs(found[..., 0].astype(int) - (WIDE >> 8)).max() <= 1


@pytest.mark.parametrize("name", ["float.tif", "float.pfm"])
def test_floats_from_0_to_1_are_scaled_by_their_range(tmp_path, name):
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    np.testing.assert_array_equal(read_photo(saved(tmp_path / name, values))[..., 2], np.arange(256).reshape(16, 16))


def test_the_white_value_declared_in_a_tiff_is_used(tmp_path):
    twelve = (WIDE >> 4).astype(np.uint16)
    path = saved(tmp_path / "twelve.tif", Image.fromarray(twelve), tiffinfo={281: 4095})
    assert np.abs(read_photo(path)[..., 0].astype(int) - (WIDE >> 8)).max() <= 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (WIDE.astype(np.float32) / 256, "range from 0 to 255, but only 0"),
        (np.full((16, 16), -0.5, np.float32), "range from -0.5 to -0.5"),
        (np.full((16, 16), np.nan, np.float32), "are not numbers"),
        (np.full((16, 16), np.inf, np.float32), "are not numbers"),
        (WIDE.astype(np.int32), "32-bit integer"),
        (WIDE >> 4, "its largest value is 4080 of 65535"),
        (WIDE >> 8, "its largest value is 255 of 65535"),
    ],
)
def test_pixels_of_an_unknown_range_are_refused(tmp_path, values, words):
    refused(saved(tmp_path / "photo.tif", values), words)


def test_twelve_bits_in_sixteen_are_detected_in_colour_images_too(tmp_path):
    """For a PNG with 16 bits per channel, of which Pillow keeps the upper eight."""
    for shift, fine in ((8, True), (4, False)):
        rows = np.zeros((16, 1 + 16 * 6), np.uint8)
        values = (np.arange(16 * 16 * 3, dtype=np.uint16).reshape(16, 48) % 256) << shift
        rows[:, 1:] = values.astype(">u2").view(np.uint8)
        path = tmp_path / "wide.png"
        header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
        )
        if fine:
            np.testing.assert_array_equal(read_photo(path).reshape(16, 48), values >> 8)
        else:
            refused(path, "16 bits per channel")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_white_is_white_and_black_is_black_in_every_mode(tmp_path, mode):
    suffix = ".tif" if mode == "CMYK" else ".png"
    for level in (0, 255):
        picture = Image.new("L", (5, 4), level)
        picture = Image.fromarray(np.full((4, 5), level * 257, np.uint16)) if mode == "I;16" else picture.convert(mode)
        assert (read_photo(saved(tmp_path / f"{level}{suffix}", picture)) == level).all()


def test_an_unusual_type_is_named(tmp_path):
    refused(saved(tmp_path / "lab.tif", Image.new("LAB", (5, 4))), "of type LAB")
