import imagehash
import numpy as np
import pytest
from PIL import Image

from boxpromptiml import images
from boxpromptiml.datasets.check.perceptual import Fingerprint, agreement, fingerprint, look_alikes
from boxpromptiml.synthesis.photos import packaged_photos

COPIES = {
    "the file": lambda photo: photo,
    "JPEG": lambda photo: images.jpeg_round_trip(photo, 30),
    "half": lambda photo: images.resize_photo(photo, photo.shape[1] // 2, photo.shape[0] // 2),
    "larger": lambda photo: images.resize_photo(photo, photo.shape[1] * 3 // 2, photo.shape[0] * 3 // 2),
    "cropped": lambda photo: photo[photo.shape[0] // 50 :, photo.shape[1] // 50 :],
    "gamma": lambda photo: (255 * (photo / 255) ** 0.75).astype(np.uint8),
    "mirrored": lambda photo: images.jpeg_round_trip(np.ascontiguousarray(photo[:, ::-1]), 70),
}


@pytest.fixture(scope="module")
def photos():
    """The packaged photos, with one of the two views of the motorcycle, which show the same scene."""
    paths = {photo.scene: photo.path for photo in packaged_photos()}
    return [images.read_photo(path) for path in paths.values()]


@pytest.fixture(scope="module")
def prints(photos):
    return [fingerprint(photo) for photo in photos]


def test_different_photos_are_distinguished(prints):
    assert len(set(look_alikes(prints, 14, mirrored=True))) == len(prints) >= 11


@pytest.mark.parametrize("way", COPIES)
def test_copies_are_found_after_common_edits(photos, prints, way):
    copies = [fingerprint(COPIES[way](photo)) for photo in photos]
    groups = look_alikes([*prints, *copies], 14, mirrored=True)
    assert groups[: len(prints)].tolist() == groups[len(prints) :].tolist()
    assert len(set(groups)) == len(prints)


def test_mirrored_copies_count_as_other_photos_on_request(photos, prints):
    copies = [fingerprint(COPIES["mirrored"](photo)) for photo in photos]
    groups = look_alikes([*prints, *copies], 14, mirrored=False)
    assert sum(groups[: len(prints)] == groups[len(prints) :]) <= 1  # a galaxy may look like its mirror image


def test_forgeries_match_their_authentic_twins(photos, prints):
    """All but one: a black region in the middle of a retina on black leaves too little."""
    found = 0
    for photo, clean in zip(photos, prints, strict=True):
        height, width = photo.shape[0] // 6, photo.shape[1] // 6
        forged = photo.copy()
        forged[2 * height : 3 * height, 2 * width : 3 * width] = photo[:height, :width]
        found += len(set(look_alikes([clean, fingerprint(forged)], 14, mirrored=False))) == 1
    assert found >= len(photos) - 1


def test_a_hash_equals_that_of_imagehash(scene):
    """Given the image shrunk by area averaging; imagehash itself uses a Lanczos filter, which changes a few bits."""
    ours = fingerprint(scene(3)).phash
    theirs = int(str(imagehash.phash(Image.fromarray(scene(3)))), 16)
    assert bin(ours ^ theirs).count("1") <= 4


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (16, 16, 3), (3000, 20, 3)])
def test_photos_of_any_shape_have_a_fingerprint(shape):
    assert fingerprint(np.full(shape, 77, np.uint8)).thumbnail.shape == (16, 16)


def test_flat_images_do_not_match():
    """A white page and a black frame have the same hash but do not match."""
    flat = [fingerprint(np.full((60, 80, 3), grey, np.uint8)) for grey in (0, 128, 255, 255)]
    assert len(set(look_alikes(flat, 14, mirrored=True))) == 4


def test_images_are_grouped_through_a_third(scene):
    """This holds even if their own hashes are too far apart to be compared."""
    thumbnail = fingerprint(scene(0)).thumbnail
    chain = [Fingerprint(phash, 2**64 - 1, thumbnail) for phash in (0, 0b11111, 0b1111111111, 2**40 - 1)]
    first, second, third, other = look_alikes(chain, 5, mirrored=False)
    assert first == second == third != other


def test_many_copies_of_one_image_are_fast(scene):
    groups = look_alikes([fingerprint(scene(0))] * 20_000 + [fingerprint(scene(1))], 14, mirrored=True)
    assert groups.tolist() == [0] * 20_000 + [1]


def test_agreement_is_the_correlation_of_the_median_block():
    one, other = np.random.default_rng(0).integers(0, 256, (2, 16, 16), np.uint8)
    blocks = [(slice(y, y + 4), slice(x, x + 4)) for y in range(0, 16, 4) for x in range(0, 16, 4)]
    by_hand = np.median([np.corrcoef(one[block].ravel(), other[block].ravel())[0, 1] for block in blocks])
    assert agreement(one[None], other[None])[0] == pytest.approx(by_hand, abs=1e-5)


def test_an_empty_list_of_images_is_allowed():
    assert look_alikes([], 14, mirrored=True).tolist() == []


def test_real_photos_and_their_copies(lab):
    """Precision and recall on every tenth photo of the lab folder, and on forgeries with their authentic twins."""
    photos = [images.read_photo(path) for path in images.list_images(lab / "photos")[::10]]
    prints = [fingerprint(photo) for photo in photos]
    assert len(set(look_alikes(prints, 14, mirrored=True))) == len(photos)
    for way in ("JPEG", "half", "cropped", "mirrored"):
        groups = look_alikes([*prints, *(fingerprint(COPIES[way](photo)) for photo in photos)], 14, mirrored=True)
        assert (groups[: len(photos)] == groups[len(photos) :]).all()
        assert len(set(groups)) == len(photos)
    twins = sorted((lab / "forgeries/imd2020/authentic").iterdir())
    forgeries = [next((lab / "forgeries/imd2020/images").glob(f"{twin.stem}.*")) for twin in twins]
    groups = look_alikes([fingerprint(images.read_photo(path)) for path in [*forgeries, *twins]], 14, mirrored=True)
    assert (groups[: len(twins)] == groups[len(twins) :]).mean() > 0.7
