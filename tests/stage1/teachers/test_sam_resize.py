"""Photos are resized to the encoder's input size, or refused if a side would vanish."""

import numpy as np
import pytest
from segment_anything.utils.transforms import ResizeLongestSide

from boxpromptiml.images import ImageError
from stage1_pseudomask.teachers.sam_resize import SIDES, refuse_too_thin, resize_longest_side


@pytest.mark.parametrize("shape", [(60, 90), (400, 150), (256, 256)])
def test_the_longer_side_has_the_input_size_and_pixels_equal_those_of_segment_anything(shape):
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    resized = resize_longest_side(photo, SIDES["tiny"])
    assert max(resized.shape[:2]) == 256
    np.testing.assert_array_equal(resized, ResizeLongestSide(256).apply_image(photo))


@pytest.mark.parametrize(("width", "refused"), [(512, False), (513, True)])
def test_a_photo_with_a_side_below_half_a_pixel_after_resizing_is_refused(width, refused):
    photo = np.zeros((1, width, 3), np.uint8)
    if refused:
        with pytest.raises(ImageError, match="too thin for SAM, which resizes the longer side to 256"):
            refuse_too_thin(photo, 256)
    else:
        refuse_too_thin(photo, 256)
        assert resize_longest_side(photo, 256).shape == (1, 256, 3)
