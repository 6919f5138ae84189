import numpy as np
import pytest

from boxpromptiml.apps.web_app.teacher_preview import HEIGHT, WIDTH, Previewer
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.images import ImageError, resize_mask, write_photo
from stage1_pseudomask.teachers.grabcut import GrabCut


class CountingTeacher(GrabCut):
    asked = 0

    def embed(self, photos):
        self.asked += 1
        return super().embed(photos)


def test_the_mask_is_that_of_the_teacher_at_the_displayed_size(tmp_path, disk):
    pixels, inside = disk(np.random.default_rng(1), 600, 900, (400, 300), 120)
    write_photo(tmp_path / "a.png", pixels)
    teacher = CountingTeacher()
    previewer = Previewer(teacher)
    photo = previewer.open(tmp_path / "a.png")
    assert photo.shown.shape == (HEIGHT, 645, 3)
    mask, score = previewer.pseudo_mask(photo, as_boxes([(270, 165, 540, 430)]))
    assert mask.shape == photo.shown.shape[:2]
    truth = resize_mask(inside, 645, HEIGHT)
    found = mask > 0.5
    assert (found & truth).sum() / (found | truth).sum() > 0.95
    assert 0.5 < score <= 1
    previewer.pseudo_mask(previewer.open(tmp_path / "a.png"), as_boxes([(280, 165, 540, 430)]))
    assert teacher.asked == 1  # one embedding for all boxes of a photo


def test_a_changed_file_is_read_again(tmp_path):
    previewer = Previewer(GrabCut())
    for size in ((30, 40), (50, 60)):
        write_photo(tmp_path / "a.png", np.zeros((*size, 3), np.uint8))
        photo = previewer.open(tmp_path / "a.png")
        assert (photo.height, photo.width) == size
        assert photo.shown.shape[1] <= WIDTH
    (tmp_path / "a.png").unlink()
    with pytest.raises(ImageError, match="no such file"):
        previewer.open(tmp_path / "a.png")
