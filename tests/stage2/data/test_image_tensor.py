"""Conversion of photos to input tensors of the student."""

import numpy as np
import torch

from stage2_distill.data.image_tensor import image_tensor


def test_bytes_become_channels_first_in_zero_to_one():
    photo = np.zeros((2, 3, 3), np.uint8)
    photo[0, 1] = (255, 51, 0)
    tensor = image_tensor(photo)
    assert (tensor.shape, tensor.dtype) == ((3, 2, 3), torch.float32)
    torch.testing.assert_close(tensor[:, 0, 1], torch.tensor([1.0, 0.2, 0.0]))
    assert tensor.sum() == tensor[:, 0, 1].sum()


def test_an_array_with_negative_strides_is_converted():
    photo = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    torch.testing.assert_close(image_tensor(photo[:, ::-1]), image_tensor(photo).flip(2))
