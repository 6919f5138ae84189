from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.images import resize_photo
from boxpromptiml.synthesis import forge as forging
from boxpromptiml.synthesis.forge import Recipe, forge

KINDS = ["splice", "copy_move", "removal"]
SEEDS = st.integers(0, 2**32 - 1)


def texture(seed, side=64):
    """Smooth colour noise: no two places are alike."""
    noise = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3), np.uint8)
    return resize_photo(noise, side, side)


@given(st.sampled_from(KINDS), SEEDS)
def test_the_mask_holds_every_pixel_that_differs_from_the_host(kind, seed):
    host = texture(1)
    forgery = forge(kind, host, texture(2), np.random.default_rng(seed), Recipe())
    assert forgery.kind == kind
    assert forgery.photo.shape == host.shape
    assert forgery.photo.dtype == np.uint8
    np.testing.assert_array_equal(forgery.photo[~forgery.mask], host[~forgery.mask])
    assert (forgery.photo != host).any(2)[forgery.mask].mean() > 0.9


@given(SEEDS)
def test_a_plain_splice_shows_the_donor_and_nothing_else(seed):
    plain = Recipe(soft_edge=0, donor_jpeg=0, donor_resample=0, donor_noise=0, donor_brightness=0)
    donor = texture(2)
    forgery = forge("splice", texture(1), donor, np.random.default_rng(seed), plain)
    np.testing.assert_array_equal(forgery.photo[forgery.mask], donor[forgery.mask])


@given(SEEDS)
def test_a_plain_copy_move_is_an_exact_copy_of_another_place(seed):
    host = texture(3)
    forgery = forge("copy_move", host, None, np.random.default_rng(seed), Recipe(soft_edge=0, transform=0))
    rows, columns = np.nonzero(forgery.mask)
    pasted = forgery.photo[forgery.mask]
    first = np.argwhere((host == pasted[0]).all(2))
    shifts = [place - (rows[0], columns[0]) for place in first]
    copies = [
        shift
        for shift in shifts
        if (moved := np.stack([rows, columns], 1) + shift).min() >= 0
        and moved.max() < 64
        and (host[moved[:, 0], moved[:, 1]] == pasted).all()
    ]
    assert len(copies) == 1
    assert np.abs(copies[0]).max() > 0


def test_a_removal_shows_only_what_surrounds_it():
    host = np.full((64, 64, 3), 200, np.uint8)
    region = np.zeros((64, 64), bool)
    region[20:40, 20:40] = True
    host[25:35, 25:35] = (255, 0, 0)
    removed = forging.removal(host, region, np.random.default_rng(0))
    np.testing.assert_allclose(removed, 200, atol=1)


def test_soft_edges_fade_from_the_border_inwards():
    host, donor = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 240, np.uint8)
    region = np.zeros((64, 64), bool)
    region[10:50, 10:50] = True
    recipe = Recipe(soft_edge=1, soft_edge_width=0.1, donor_jpeg=0, donor_resample=0, donor_noise=0, donor_brightness=0)
    row = forging.splice(host, donor, region, np.random.default_rng(1), recipe)[30, :31, 0].astype(int)
    assert row[9] == 0
    assert 0 < row[10] < 240
    assert row[30] == 240
    assert (np.diff(row) >= 0).all()


def test_each_trace_of_the_donor_can_be_switched_on_alone():
    donor = texture(5)
    none = Recipe(donor_jpeg=0, donor_resample=0, donor_noise=0, donor_brightness=0, host_jpeg=0)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(forging.age_donor(donor, rng, none), donor)
    np.testing.assert_array_equal(forging.age_host(donor, rng, none), donor)
    assert (forging.age_host(donor, rng, replace(none, host_jpeg=1)) != donor).any()
    for name in ("donor_jpeg", "donor_resample", "donor_noise", "donor_brightness"):
        aged = forging.age_donor(donor, rng, replace(none, **{name: 1}))
        assert aged.shape == donor.shape
        assert 0.1 < np.abs(aged.astype(int) - donor).mean() < 70, name


def test_a_region_that_nobody_could_see_is_drawn_anew():
    """In a photo that is black but for one corner, most copies would put black on black."""
    host = np.zeros((96, 96, 3), np.uint8)
    host[:48, :48] = texture(1, 48)
    seen = 0
    for seed in range(30):
        forgery = forge("copy_move", host, None, np.random.default_rng(seed), Recipe())
        seen += np.abs(forgery.photo[forgery.mask].astype(int) - host[forgery.mask]).mean() >= Recipe().visible
    assert seen >= 27


def test_a_photo_of_one_colour_is_forged_all_the_same():
    forgery = forge("removal", np.full((64, 64, 3), 9, np.uint8), None, np.random.default_rng(0), Recipe())
    assert forgery.mask.any()


def test_a_splice_without_a_donor_is_refused():
    with pytest.raises(ValueError, match="donor"):
        forge("splice", texture(1), None, np.random.default_rng(0), Recipe())


@given(SEEDS, st.integers(20, 90), st.integers(20, 90))
def test_crops_have_the_size_asked_for_whatever_the_photo(seed, height, width):
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    crop = forging.random_crop(photo, 32, np.random.default_rng(seed))
    assert crop.shape == (32, 32, 3)
    assert crop.flags.c_contiguous
