from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.synthesis.forger import Forger, random_crop
from boxpromptiml.synthesis.objects import examine_objects, list_objects
from boxpromptiml.synthesis.photos import SourcePhoto
from boxpromptiml.synthesis.recipe import Recipe, Traces

NOTHING = Traces()
BARE = Recipe(objects=0, host=NOTHING, donor=NOTHING, finish=NOTHING, feather=0, poisson=0, colour_match=0)


@pytest.fixture
def photos(photo_folder):
    return [SourcePhoto(path, path.stem, "train") for path in sorted(photo_folder.glob("*.png"))]


@pytest.mark.parametrize("kind", ["splice", "copy_move", "removal", None])
def test_an_image_has_the_requested_size_and_a_forged_one_a_mask(photos, kind):
    for seed in range(8):
        photo, mask = Forger(photos, [], 48, Recipe()).make(kind, photos[0], np.random.default_rng(seed))
        assert photo.shape == (48, 48, 3)
        assert photo.dtype == np.uint8
        assert (mask is None) == (kind is None)
        assert mask is None or (mask.shape == (48, 48) and mask.any())


def test_objects_are_spliced_with_the_given_probability(photos, object_folder):
    objects = [examine_objects(pair) for pair in list_objects(object_folder)]
    recipe = Recipe(objects=0.5, host=NOTHING, donor=NOTHING, finish=NOTHING, colour_match=0, feather=0, poisson=0)
    forger = Forger(photos[4:9], objects, 64, recipe)  # green and blue photos; the objects are red
    red = Counter()
    for seed in range(60):
        photo, mask = forger.make("splice", photos[5], np.random.default_rng(seed))
        inside = photo[mask].astype(int)
        red[bool(np.median(inside[:, 0] - inside[:, 1:].max(1)) > 100)] += 1
    assert 15 <= red[True] <= 45


def test_a_host_is_never_its_own_donor(photos):
    twins = [
        SourcePhoto(photos[0].path, "one scene", "train"),
        SourcePhoto(photos[6].path, "one scene", "train"),
        photos[3],
    ]
    hues = set()
    for seed in range(12):
        photo, mask = Forger(twins, [], 48, BARE).make("splice", twins[0], np.random.default_rng(seed))
        hues.add(int(np.median(photo[mask], axis=0).argmax()))
    assert hues <= {0, 1}  # red and green photos; the twin is cyan


@given(st.integers(0, 2**32 - 1), st.integers(20, 200), st.integers(20, 200))
def test_the_canvas_is_no_larger_than_the_photo_unless_the_image_size_requires_it(seed, height, width):
    photo = np.zeros((height, width, 3), np.uint8)
    recipe = Recipe(canvas=(1.0, 2.5), aspect=(0.5, 2.0))
    canvas = random_crop(photo, 32, recipe, np.random.default_rng(seed))
    rows, columns = canvas.shape[:2]
    assert canvas.flags.c_contiguous
    assert 0.4 < columns / rows < 2.4
    assert 31**2 - 40 <= rows * columns <= (2.5 * 32 + 2) ** 2
    assert (rows <= height + 1 and columns <= width + 1) or rows * columns < 33.5**2


def test_final_traces_are_applied_to_the_whole_image(photos):
    noisy = Recipe(host=NOTHING, finish=Traces(noise=1, noise_sigma=(9, 9)), canvas=(1, 1), aspect=(1, 1))
    clean = Recipe(host=NOTHING, finish=NOTHING, canvas=(1, 1), aspect=(1, 1))
    pictures = [
        Forger(photos, [], 48, r).make(None, photos[4], np.random.default_rng(0))[0].astype(int) for r in (noisy, clean)
    ]
    changed = (pictures[0] != pictures[1]).any(2)
    assert changed.mean() > 0.8
