from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.images import resize_photo
from boxpromptiml.synthesis import manipulations
from boxpromptiml.synthesis.cutout import cut_out
from boxpromptiml.synthesis.manipulations import forge
from boxpromptiml.synthesis.recipe import Recipe, Traces

KINDS = ["splice", "copy_move", "removal", "retouch"]
SEEDS = st.integers(0, 2**32 - 1)

NOTHING = Traces()
BARE = Recipe(area=(0.02, 0.4), objects=0, segments=0, transform=0, feather=0, poisson=0, colour_match=0, donor=NOTHING)


def texture(seed, side=64):
    """Smooth colour noise without repeated patches."""
    noise = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3), np.uint8)
    return resize_photo(noise, side, side)


@given(st.sampled_from(KINDS), SEEDS)
def test_the_mask_contains_every_pixel_that_differs_from_the_host(kind, seed):
    host = texture(1)
    forgery = forge(kind, host, texture(2), np.random.default_rng(seed), Recipe(area=(0.02, 0.4)))
    assert forgery.kind == kind
    assert forgery.photo.shape == host.shape
    assert forgery.photo.dtype == np.uint8
    np.testing.assert_array_equal(forgery.photo[~forgery.mask], host[~forgery.mask])
    assert (forgery.photo != host).any(2)[forgery.mask].mean() > 0.8


@given(SEEDS, st.integers(33, 90), st.integers(33, 90))
def test_a_canvas_of_any_size_can_be_forged(seed, height, width):
    host = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    for kind in KINDS:
        assert forge(kind, host, host[::-1], np.random.default_rng(seed), Recipe()).mask.any()


def matching_displacements(host, photo, mask):
    """Yield every displacement (dy, dx) at which the pixels inside the mask equal those of the host."""
    places = np.argwhere(mask)
    pasted = photo[mask]
    for shift in np.argwhere((host == pasted[0]).all(2)) - places[0]:
        moved = places + shift
        inside = moved.min() >= 0 and (moved < host.shape[:2]).all()
        if inside and (host[moved[:, 0], moved[:, 1]] == pasted).all():
            yield shift


@given(SEEDS)
def test_a_splice_without_variations_copies_a_part_of_the_donor(seed):
    donor = texture(2)
    forgery = forge("splice", texture(1), donor, np.random.default_rng(seed), BARE)
    assert len(list(matching_displacements(donor, forgery.photo, forgery.mask))) == 1


@given(SEEDS)
def test_a_copy_move_without_variations_is_an_exact_copy_within_the_host(seed):
    host = texture(3)
    forgery = forge("copy_move", host, None, np.random.default_rng(seed), BARE)
    [shift] = matching_displacements(host, forgery.photo, forgery.mask)
    assert np.abs(shift).max() > 0


def test_plain_copies_are_exact_whatever_the_rest_of_the_recipe(monkeypatch):
    monkeypatch.setattr(manipulations, "BRIGHTER", 0)
    monkeypatch.setattr(manipulations, "SOFTENED", 0)
    host, recipe = texture(3), Recipe(area=(0.02, 0.4), transform=1, poisson=0.6, feather=0.4, plain_copies=1)
    for seed in range(20):
        forgery = forge("copy_move", host, None, np.random.default_rng(seed), recipe)
        [shift] = matching_displacements(host, forgery.photo, forgery.mask)
        assert np.abs(shift).max() > 0


@given(SEEDS)
def test_a_retouched_region_stays_in_place(seed):
    region = np.zeros((64, 64), bool)
    region[20:44, 20:44] = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manipulations, "region_of", lambda *_: region)
        mask = manipulations.retouch(texture(3), np.random.default_rng(seed), Recipe()).mask
    overlap = (mask & region).sum() / (mask | region).sum()
    assert overlap > 0.2


@given(SEEDS)
def test_an_object_keeps_its_outline_at_the_requested_area(seed):
    round_object = np.zeros((60, 60), bool)
    round_object[np.hypot(*np.mgrid[-30:30, -30:30]) < 25] = True
    recipe = replace(BARE, area=(0.05, 0.05))
    forgery = forge("splice", texture(1), cut_out(texture(2), round_object), np.random.default_rng(seed), recipe)
    rows, columns = np.nonzero(forgery.mask)
    inside = min(rows.min(), columns.min()) > 0 and max(rows.max(), columns.max()) < 63
    if inside:  # otherwise the border clips it
        assert forgery.mask.mean() == pytest.approx(0.05, rel=0.15)
        assert np.hypot(rows - rows.mean(), columns - columns.mean()).max() < 9.5


def test_cutouts_larger_than_the_host_are_shrunk():
    large = cut_out(texture(2, 200), np.ones((200, 200), bool))
    forgery = forge("splice", texture(1), large, np.random.default_rng(0), replace(BARE, area=(0.5, 0.9), scale=(1, 9)))
    assert 0.4 < forgery.mask.mean() <= 1


def test_a_removal_is_filled_from_its_surroundings_only():
    host = np.full((64, 64, 3), 200, np.uint8)
    for seed in range(10):
        region = manipulations.removal(host, np.random.default_rng(seed), BARE).mask
        filled = host.copy()
        filled[region] = (255, 0, 0)
        removed = manipulations.removal(filled, np.random.default_rng(seed), BARE)
        np.testing.assert_array_equal(removed.mask, region)
        np.testing.assert_allclose(removed.photo, 200, atol=5)


def square(host, donor, recipe):
    region = np.zeros((64, 64), bool)
    region[10:50, 10:50] = True
    return manipulations.blended(host, donor, region, np.random.default_rng(1), recipe), region


def test_soft_edges_fade_from_the_border_inwards():
    host, donor = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 240, np.uint8)
    photo, _ = square(host, donor, replace(BARE, feather=1, feather_width=(0.1, 0.1)))
    row = photo[30, :31, 0].astype(int)
    assert row[9] == 0
    assert 0 < row[10] < 240
    assert row[30] == 240
    assert (np.diff(row) >= 0).all()


def test_poisson_blending_keeps_the_gradients_of_the_donor_and_the_colour_of_the_host():
    host, donor = np.full((64, 64, 3), 90, np.uint8), texture(7) // 4 + 150
    photo, region = square(host, donor, replace(BARE, poisson=1))
    seen, original = (picture[12:48, 12:48].astype(float) for picture in (photo, donor))
    assert np.corrcoef(np.diff(seen, axis=0).ravel(), np.diff(original, axis=0).ravel())[0, 1] > 0.95
    assert abs(seen.mean() - 90) < abs(original.mean() - 90) / 2
    assert (photo != host).any(2)[region].mean() > 0.9
    np.testing.assert_array_equal(photo[~region], host[~region])


def test_poisson_blending_works_at_the_border_of_the_photo():
    region = np.zeros((64, 64), bool)
    region[:20, :64] = True
    photo = manipulations.blended(texture(1), texture(2), region, np.random.default_rng(0), replace(BARE, poisson=1))
    assert (photo != texture(1)).any(2)[region].mean() > 0.9


def test_a_region_with_an_invisible_change_is_drawn_again():
    """In a photo that is black except for one corner, most copies would paste black onto black."""
    host = np.zeros((96, 96, 3), np.uint8)
    host[:48, :48] = texture(1, 48)
    seen = 0
    for seed in range(30):
        forgery = forge("copy_move", host, None, np.random.default_rng(seed), BARE)
        seen += np.abs(forgery.photo[forgery.mask].astype(int) - host[forgery.mask]).mean() >= BARE.visible
    assert seen >= 27


def test_a_photo_of_one_colour_can_be_forged():
    forgery = forge("removal", np.full((64, 64, 3), 9, np.uint8), None, np.random.default_rng(0), Recipe())
    assert forgery.mask.any()


def test_a_splice_without_a_donor_is_refused():
    with pytest.raises(ValueError, match="donor"):
        forge("splice", texture(1), None, np.random.default_rng(0), Recipe())
