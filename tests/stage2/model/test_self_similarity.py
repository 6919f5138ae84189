"""The self-similarity branch finds the displacement of a copy, marks source and copy, and can be trained."""

import numpy as np
import pytest
import torch

from boxpromptiml.images import jpeg_round_trip, resize_photo
from stage2_distill.model.self_similarity import CELL, SelfSimilarity, cepstrum, displace, highest, texture
from stage2_distill.model.student import Student, count_macs, count_parameters


def photo(seed=0, side=128):
    """A photo with detail at every scale and no repeated patch, like a natural photo."""
    rng = np.random.default_rng(seed)
    layers = [resize_photo(rng.integers(0, 256, (n, n, 3), np.uint8), side, side).astype(float) for n in (8, 32, side)]
    return np.clip(sum(layers) / 3, 0, 255).astype(np.uint8)


def copied(rows, columns, seed=0):
    """A photo whose square (16..48, 16..48) was copied by the given displacement, saved as JPEG."""
    forged = photo(seed)
    forged[16 + rows : 48 + rows, 16 + columns : 48 + columns] = forged[16:48, 16:48].copy()
    return torch.from_numpy(jpeg_round_trip(forged, 90)).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("shape", [(32, 48), (31, 45), (64, 64)])
def test_the_cepstrum_equals_that_of_numpy(shape):
    values = torch.randn(2, 1, *shape)
    power = np.abs(np.fft.fft2(values[:, 0].double().numpy())) ** 2
    half = shape[1] // 2 + 1
    logarithm = np.log(power / power[..., :half].mean((1, 2), keepdims=True) + 0.01)
    logarithm -= logarithm[..., :half].mean((1, 2), keepdims=True)
    expected = np.fft.ifft2(logarithm).real[..., :half] * np.sqrt(shape[0] * shape[1])
    np.testing.assert_allclose(cepstrum(values).numpy(), expected, atol=1e-3)


@pytest.mark.parametrize(("rows", "columns"), [(60, 50), (0, 40), (37, 0), (-10, 41)])
def test_the_highest_cepstral_peak_is_the_displacement_of_a_copy(rows, columns):
    grey = copied(rows, columns).mean(1, keepdim=True)
    _, found_rows, found_columns = highest(cepstrum(texture(grey, 1, 7)), 8)
    assert (found_rows[0, 0], found_columns[0, 0]) == (rows % 128, columns)


def test_source_and_copy_agree_and_no_other_place_does():
    maps = SelfSimilarity(8).evidence(copied(60, 50)).maps[0, :, 0].amax(0)
    source, copy = (slice(5, 11), slice(5, 11)), (slice(20, 26), slice(18, 23))
    assert maps.shape == (128 // CELL, 128 // CELL)
    assert maps[source].mean() > 0.8
    assert maps[copy].mean() > 0.8
    authentic = SelfSimilarity(8).evidence(torch.from_numpy(photo()).permute(2, 0, 1)[None] / 255).maps[0, :, 0].amax(0)
    assert authentic.mean() < 0.5


def test_displacement_is_cyclic():
    values = torch.arange(12.0).view(1, 1, 3, 4)
    moved = displace(values, torch.tensor([[1, 0]]), torch.tensor([[2, 1]]))
    np.testing.assert_array_equal(moved[0, 0], np.roll(values[0, 0].numpy(), (-1, -2), (0, 1)))
    np.testing.assert_array_equal(moved[0, 1], np.roll(values[0, 0].numpy(), -1, 1))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_photo_of_one_colour_has_finite_features(value):
    branch = SelfSimilarity(8)
    assert branch(branch.evidence(torch.full((2, 3, 64, 64), value)).maps).isfinite().all()


def test_the_branch_affects_the_logits_and_is_trained():
    torch.manual_seed(0)
    student = Student("mobilenetv3_small_050", pretrained=False, channels=16, prototypes=4, displacements=4)
    student(torch.rand(2, 3, 64, 64)).logits.square().mean().backward()
    assert student.similarity.judge[0].weight.grad.abs().max() > 0


def test_the_released_architecture_is_within_the_published_budget():
    shape = {"backbone": "tf_efficientnet_lite0", "pretrained": False, "fusion_stride": 4, "channels": 64}
    plain, student = (Student(**shape, displacements=n) for n in (0, 8))
    assert count_parameters(student) <= 5.5e6
    assert count_macs(plain) < count_macs(student) <= 1.4e9


@pytest.mark.parametrize("size", [(96, 72), (75, 100)])
def test_any_photo_size_works(size):
    student = Student("mobilenetv3_small_050", pretrained=False, channels=16, prototypes=4, displacements=4).eval()
    with torch.no_grad():
        assert student(torch.rand(1, 3, *size)).logits.shape == (1, 1, *size)
