import numpy as np
import pytest
from PIL import Image

from boxpromptiml import images
from boxpromptiml.images import ImageError, read_mask, read_photo


def test_written_photos_and_masks_read_back(tmp_path, photo):
    images.write_photo(tmp_path / "photo.png", photo)
    np.testing.assert_array_equal(read_photo(tmp_path / "photo.png"), photo)
    mask = photo[..., 0] > 100
    images.write_mask(tmp_path / "mask.png", mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), mask)
    probability = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    images.write_probability(tmp_path / "probability.png", probability)
    stored = np.asarray(Image.open(tmp_path / "probability.png"))
    assert np.abs(stored / 255 - probability).max() <= 0.5 / 255 + 1e-6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mask.png", "photo.png", "probability.png"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, photo):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match=r"map\.png: cannot be written"):
        images.write_probability(tmp_path / "file" / "map.png", np.zeros((3, 4), np.float32))
    with pytest.raises(ImageError, match=r"photo\.png: cannot be written"):
        images.write_photo(tmp_path / "file" / "photo.png", photo)


def test_a_full_disk_leaves_the_old_file_intact(tmp_path, photo, monkeypatch):
    images.write_photo(tmp_path / "photo.png", photo)

    def fill_up(self, path, **options):
        path.write_bytes(b"half a fi")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fill_up)
    with pytest.raises(ImageError, match="No space left on device"):
        images.write_photo(tmp_path / "photo.png", photo // 2)
    np.testing.assert_array_equal(read_photo(tmp_path / "photo.png"), photo)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]


def test_jpeg_round_trip_loses_more_at_lower_quality(photo):
    losses = [np.abs(images.jpeg_round_trip(photo, q).astype(int) - photo).mean() for q in (95, 70, 30)]
    assert 0 < losses[0] < losses[1] < losses[2]


def test_a_photo_too_long_for_jpeg_is_refused_in_one_line():
    with pytest.raises(ImageError, match="70000×1 pixels exceed what a JPEG can hold"):
        images.jpeg_round_trip(np.zeros((1, 70_000, 3), np.uint8), 90)


def test_a_written_mask_declares_its_orientation(tmp_path):
    """It then fits a photo with an EXIF rotation, whatever its shape."""
    mask = np.indices((20, 20))[0] < 5
    images.write_mask(tmp_path / "mask.png", mask)
    turned = Image.Exif()
    turned[274] = 3
    Image.new("RGB", (20, 20)).save(tmp_path / "photo.jpg", exif=turned)
    _, truth = images.read_pair(tmp_path / "photo.jpg", tmp_path / "mask.png")
    np.testing.assert_array_equal(truth.mask, mask)
