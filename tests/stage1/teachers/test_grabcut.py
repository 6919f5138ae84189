import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxpromptiml.core.boxes import as_boxes, rasterize
from stage1_pseudomask.teachers.grabcut import GrabCut, shrink


def disk_on_texture(seed=0, height=90, width=120, alike=False):
    """A disk and a loose box around it; ``alike`` gives it the colours of its surroundings."""
    rng = np.random.default_rng(seed)
    photo = rng.integers(60, 110, (height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    disk = (x - 50) ** 2 + (y - 45) ** 2 <= 20**2
    if not alike:
        photo[disk] = np.array([190, 120, 40]) + rng.integers(-20, 20, (disk.sum(), 3))
    return photo, disk, as_boxes([(26, 22, 75, 70)])


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def masks(teacher, photos, boxes, frames):
    return teacher.propose(teacher.embed(photos), boxes, frames)


def test_it_finds_an_object_much_better_than_its_box():
    photo, disk, boxes = disk_on_texture()
    mask, score = GrabCut().cut(photo, boxes[0])
    assert iou(mask, disk) > 0.95 > iou(rasterize(boxes, 120, 90), disk) + 0.3
    assert score > 0.9


def test_where_colours_do_not_differ_the_middle_of_the_box_is_kept():
    photo, disk, boxes = disk_on_texture(alike=True)
    mask, score = GrabCut().cut(photo, boxes[0])
    assert iou(mask, disk) > iou(rasterize(boxes, 120, 90), disk)
    assert score < 0.9


def test_every_box_is_segmented_separately_and_images_may_have_none():
    photo, _, boxes = disk_on_texture()
    other = as_boxes([(80, 10, 110, 40)])
    both, none = masks(GrabCut(), [photo, photo], [np.concatenate([boxes, other]), boxes[:0]], [(120, 90)] * 2)
    (alone,) = masks(GrabCut(), [photo], [boxes], [(120, 90)])
    assert np.array_equal(both.probability[:1], alone.probability)
    assert both.probability.shape == (2, 1, 90, 120)
    assert none.probability.shape == (0, 1, 90, 120)
    assert none.scores.shape == (0, 1)


def test_masks_do_not_depend_on_threads_or_batches():
    scenes = [disk_on_texture(seed, alike=seed % 2 == 0) for seed in range(6)]
    photos, boxes = [photo for photo, _, _ in scenes], [box for _, _, box in scenes]
    together = masks(GrabCut(threads=4), photos, boxes, [(120, 90)] * 6)
    for photo, box, threaded in zip(photos, boxes, together, strict=True):
        (single,) = masks(GrabCut(threads=1), [photo], [box], [(120, 90)])
        assert np.array_equal(single.probability, threaded.probability)
        assert np.array_equal(single.scores, threaded.scores)


def test_masks_have_the_resolution_of_the_boxes():
    photo, disk, boxes = disk_on_texture()
    (candidates,) = masks(GrabCut(), [photo], [boxes * 2], [(240, 180)])
    assert iou(candidates.probability[0, 0] > 0.5, disk.repeat(2, 0).repeat(2, 1)) > 0.9


@pytest.mark.parametrize(
    ("size", "shrunk"), [((1000, 400), (512, 205)), ((300, 200), (300, 200)), ((1, 2000), (1, 512))]
)
def test_photos_are_shrunk_but_never_enlarged(size, shrunk):
    assert shrink(np.zeros((size[1], size[0], 3), np.uint8), 512).shape == (shrunk[1], shrunk[0], 3)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), height=st.integers(1, 40), width=st.integers(1, 40), colours=st.sampled_from([1, 2, 256]))
def test_any_photo_and_box_give_a_mask(data, height, width, colours):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    photo = rng.integers(0, colours, (height, width, 3), dtype=np.uint8)
    x1, y1 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x2, y2 = data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height))
    mask, score = GrabCut().cut(photo, np.array([x1, y1, x2, y2], np.float32))
    assert mask.shape == (height, width)
    assert mask.any()
    assert not mask[~rasterize(as_boxes([(x1, y1, x2, y2)]), width, height)].any()
    assert 0 <= score <= 1
