"""Geometric augmentation applies to photo and masks alike, noise to the photo only."""

import numpy as np
import pytest

from stage2_distill.data.augmentation import Augmentation, training_transform


def picture(size=48):
    """A mask of blocks and a photo of exactly that mask, so that any misalignment is visible."""
    rng = np.random.default_rng(0)
    mask = np.kron(rng.integers(0, 2, (size // 8, size // 8)), np.ones((8, 8))).astype(np.uint8) * 255
    return np.repeat(mask[..., None], 3, axis=2), mask


@pytest.mark.parametrize("seed", range(8))
def test_masks_are_transformed_with_the_photo(seed):
    photo, mask = picture()
    transform = training_transform(40, Augmentation(jpeg_quality=100, blur=0, noise=0))
    transform.set_random_seed(seed)
    moved = transform(image=photo, masks=[mask, 255 - mask])
    disagreement = np.abs(moved["image"][..., 0].astype(int) - moved["masks"][0]) > 128
    assert disagreement.mean() < 0.06  # photo and mask are interpolated differently at edges
    assert np.abs(moved["masks"][0].astype(int) + moved["masks"][1] - 255).max() <= 1


def test_noise_never_touches_a_mask():
    photo, mask = picture()
    augmentation = Augmentation(flip=0, crop_scale=1, jpeg_quality=30, blur=1, noise=1)
    moved = training_transform(48, augmentation)(image=photo, masks=[mask])
    assert (moved["masks"][0] == mask).all()
    assert (moved["image"] != photo).any()
