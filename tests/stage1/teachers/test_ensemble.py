import numpy as np
import pytest
import torch

from boxpromptiml.core.boxes import as_boxes, rasterize
from boxpromptiml.core.records import InputError
from stage1_pseudomask.teachers import Candidates, Teacher
from stage1_pseudomask.teachers.ensemble import MOVES, JitterEnsemble

WIDTH, HEIGHT = 60, 40
BOX = [20, 10, 40, 30]


class StubTeacher(Teacher):
    """Stub teacher: a function gives the mask of each box, as arrays or tensors, beside a worse candidate."""

    name = "answering"
    weights_sha256 = "0123"

    def __init__(self, answer, tensors=False):
        self.answer, self.tensors, self.asked, self.embedded = answer, tensors, [], 0

    @property
    def settings(self):
        return {"a": 1}

    def preparation(self):
        return np.ascontiguousarray

    def embed(self, photos):
        self.embedded += 1
        return photos

    def propose(self, embedding, boxes, frames):
        self.asked += boxes
        return [self._candidates(image_boxes) for image_boxes in boxes]

    def _candidates(self, boxes):
        masks = [[np.zeros((HEIGHT, WIDTH)), self.answer(box)] for box in boxes]
        probability = np.array(masks, np.float32).reshape(-1, 2, HEIGHT, WIDTH)
        scores = np.tile(np.array([[0.1, 0.9]], np.float32), (len(boxes), 1))
        return (
            Candidates(*map(torch.from_numpy, (probability, scores)))
            if self.tensors
            else Candidates(probability, scores)
        )


def consensus(answer, boxes=(BOX,), **arguments):
    teacher = JitterEnsemble(StubTeacher(answer, arguments.pop("tensors", False)), **arguments)
    proposed = teacher.propose(teacher.embed([None]), [as_boxes(boxes)], [(WIDTH, HEIGHT)])[0]
    return np.asarray(proposed.probability), np.asarray(proposed.scores)


def whole(box):
    return rasterize(box[None], WIDTH, HEIGHT)


def an_object(box):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[15:25, 24:36] = True
    return mask


@pytest.mark.parametrize("tensors", [False, True])
def test_a_mask_independent_of_the_box_is_certain(tensors):
    probability, scores = consensus(an_object, tensors=tensors)
    assert probability.shape == (1, 1, HEIGHT, WIDTH)
    assert (probability[0, 0] == an_object(None)).all()
    assert scores.tolist() == [[1]]


def test_a_mask_that_follows_the_box_is_less_certain():
    """Hand-computed: a box of 20 × 20 pixels with sides moved by 2; three of five agree on all but its four corners."""
    probability, scores = consensus(whole)
    expected = whole(np.array(BOX))
    for rows in (slice(10, 12), slice(28, 30)):
        for columns in (slice(20, 22), slice(38, 40)):
            expected[rows, columns] = False
    assert ((probability[0, 0] > 0.5) == expected).all()
    drawn, larger, smaller, crossed = 384 / 400, 384 / 576, 256 / 384, 320 / (384 + 24 * 16 - 320)
    assert scores[0, 0] == pytest.approx((drawn + larger + smaller + 2 * crossed) / 5)


def test_empty_masks_give_zero_agreement():
    probability, scores = consensus(lambda box: np.zeros((HEIGHT, WIDTH)))
    assert not probability.any()
    assert scores.tolist() == [[0]]


def test_perturbed_copies_of_different_boxes_do_not_mix():
    boxes = [BOX, [0, 0, 10, 10]]
    probability, scores = consensus(whole, boxes=boxes)
    for i, box in enumerate(boxes):
        alone, score = consensus(whole, boxes=[box])
        assert (probability[i] == alone[0]).all()
        assert scores[i] == score[0]
    assert consensus(whole, boxes=[])[0].shape == (0, 1, HEIGHT, WIDTH)


def test_perturbations_are_balanced():
    assert not MOVES[:5].sum(0).any()
    assert not MOVES.sum(0).any()
    assert np.array_equal(MOVES.T @ MOVES, 8 * np.eye(4))


def test_boxes_are_moved_by_a_fraction_of_their_side_and_stay_in_the_image():
    moved = JitterEnsemble(StubTeacher(whole), copies=3, jitter=0.25).moved(
        as_boxes([BOX, [0, 0, 8, 40]]), (WIDTH, HEIGHT)
    )
    assert moved.tolist() == [BOX, [15, 5, 45, 35], [25, 15, 35, 25], [0, 0, 8, 40], [0, 0, 10, 40], [2, 10, 6, 30]]


def test_a_photo_is_embedded_once_and_settings_name_the_ensemble():
    teacher = StubTeacher(whole)
    ensemble = JitterEnsemble(teacher, copies=4, jitter=0.2)
    ensemble.propose(ensemble.embed([None]), [as_boxes([BOX])], [(WIDTH, HEIGHT)])
    assert teacher.embedded == 1
    assert len(teacher.asked[0]) == 4
    assert (ensemble.name, ensemble.weights_sha256) == ("answering_ensemble", "0123")
    assert ensemble.settings == {"a": 1, "copies": 4, "jitter": 0.2}


@pytest.mark.parametrize("wrong", [{"copies": 1}, {"copies": 10}, {"jitter": 0.0}, {"jitter": 0.5}])
def test_invalid_arguments_are_refused(wrong):
    with pytest.raises(InputError, match=r"(copies|jitter) is .*; use a"):
        JitterEnsemble(StubTeacher(whole), **wrong)
