"""Photos as input of the student."""

import numpy as np
import torch

from boxpromptiml.images import resize_photo
from stage2_distill.data.preprocessing import Resize, student_input


def test_bytes_become_channels_first_in_zero_to_one():
    photo = np.zeros((3, 3, 3), np.uint8)
    photo[0, 1] = (255, 51, 0)
    tensor = student_input(photo, 3)
    assert (tensor.shape, tensor.dtype) == ((3, 3, 3), torch.float32)
    torch.testing.assert_close(tensor[:, 0, 1], torch.tensor([1.0, 0.2, 0.0]))
    assert tensor.sum() == tensor[:, 0, 1].sum()


def test_photos_of_any_shape_become_square():
    photo = np.random.default_rng(0).integers(0, 256, (12, 5, 3), np.uint8)
    expected = resize_photo(photo, 8, 8).transpose(2, 0, 1) / np.float32(255)
    np.testing.assert_allclose(student_input(photo, 8).numpy(), expected, atol=1e-6)


def test_an_array_with_negative_strides_is_converted():
    photo = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    torch.testing.assert_close(student_input(photo[:, ::-1], 2), student_input(photo, 2).flip(2))


def test_validation_photos_are_resized_as_at_inference():
    rng = np.random.default_rng(0)
    photo, mask = rng.integers(0, 256, (48, 48, 3), np.uint8), rng.integers(0, 256, (48, 48), np.uint8)
    for size in (24, 48, 60):
        resized = Resize(size)(image=photo, masks=[mask])
        at_inference = student_input(photo, size).numpy().transpose(1, 2, 0)
        np.testing.assert_allclose(resized["image"] / np.float32(255), at_inference, atol=1e-6)
        assert [other.shape for other in resized["masks"]] == [(size, size)]
    assert (Resize(48)(image=photo, masks=[mask])["masks"][0] == mask).all()
