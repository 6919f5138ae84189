"""Degradations are correct and deterministic, and transform the ground truth with the photo."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from boxpromptiml.core.records import InputError
from stage2_distill.data.degradations import Degradation, Levels


@pytest.fixture(scope="module")
def photo():
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(0, 1, (120, 160, 3)), (6, 6, 0))
    return np.clip(128 + 300 * smooth, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def truth():
    mask = np.zeros((120, 160), bool)
    mask[30:90, 40:100] = True
    return mask


def degraded(photo, truth, kind, level, image_id=1):
    return Degradation(kind, level).apply(photo, truth, image_id)


def test_blur_is_a_gaussian_of_the_kernel_size(photo, truth):
    blurred, same = degraded(photo, truth, "blur", 11)
    deviation = 0.3 * ((11 - 1) / 2 - 1) + 0.8
    expected = ndimage.gaussian_filter(photo.astype(float), (deviation, deviation, 0), mode="mirror", truncate=5 / 2)
    assert np.abs(blurred - expected).max() < 2
    assert same is truth


@pytest.mark.parametrize(("kind", "level", "deviation"), [("noise", 9, 9), ("noise_variance", 9, 3)])
def test_noise_levels_are_standard_deviations_or_variances(truth, kind, level, deviation):
    grey = np.full((120, 160, 3), 128, np.uint8)
    noisy = degraded(grey, truth, kind, level)[0].astype(float)
    assert noisy.std() == pytest.approx(deviation, rel=0.03)
    assert noisy.mean() == pytest.approx(128, abs=0.1)


def test_noise_depends_only_on_image_and_level(photo, truth):
    once, again, other = (degraded(photo, truth, "noise", 7, image_id)[0] for image_id in (1, 1, 2))
    assert (once == again).all()
    assert (once != other).any()
    stronger = degraded(photo, truth, "noise", 14)[0]
    assert not np.array_equal((stronger.astype(int) - photo) / 2, once.astype(int) - photo)


def test_jpeg_equals_that_of_pillow(photo, truth, tmp_path):
    for quality in (100, 50):
        Image.fromarray(photo).save(tmp_path / "photo.jpg", quality=quality)
        assert (degraded(photo, truth, "jpeg", quality)[0] == np.array(Image.open(tmp_path / "photo.jpg"))).all()


@pytest.mark.parametrize(("kind", "level", "factor"), [("resize", 0.25, 0.25), ("sharing", 2, 0.64)])
def test_the_ground_truth_shrinks_with_the_photo(photo, truth, kind, level, factor):
    small, mask = degraded(photo, truth, kind, level)
    assert small.shape[:2] == mask.shape
    assert mask.shape == pytest.approx(np.array(truth.shape) * factor, abs=1)
    assert mask.mean() == pytest.approx(truth.mean(), rel=0.1)
    rows, columns = (np.flatnonzero(mask.any(axis)) / mask.shape[1 - axis] for axis in (1, 0))
    assert (rows[0], columns[0]) == pytest.approx((30 / 120, 40 / 160), abs=0.03)


def test_gamma_below_one_brightens(photo, truth):
    bright, dark = (degraded(photo, truth, "gamma", level)[0].astype(float) for level in (0.7, 1.3))
    assert (bright >= photo).all()
    assert (dark <= photo).all()
    assert bright[0, 0, 0] == pytest.approx(255 * (photo[0, 0, 0] / 255) ** 0.7, abs=0.51)


def test_the_default_levels_are_those_of_the_literature(photo, truth):
    named = [str(each) for each in Levels().degradations()]
    assert len(named) == len(set(named)) == 29
    assert {"blur 23", "noise 3", "jpeg 50", "resize 0.78", "gamma 1.3", "sharing 3"} <= set(named)


@pytest.mark.parametrize(
    ("levels", "words"),
    [({"blur": (4,)}, "odd"), ({"jpeg": (0,)}, "1 to 100"), ({"noise": (-1,)}, "noise"), ({"jpeg": (70, 70)}, "twice")],
)
def test_an_invalid_level_is_named(levels, words):
    with pytest.raises(InputError, match=words):
        Levels(**levels).degradations()
