"""The noise residual branch responds to noise and never to brightness, before and after training."""

import pytest
import torch

from stage2_distill.model.noise_residual import WIDTH, NoiseResidual


@pytest.fixture
def trained():
    """The branch after a few steps of gradient descent on noise."""
    torch.manual_seed(0)
    branch = NoiseResidual(filters=4)
    optimizer = torch.optim.SGD(branch.parameters(), lr=0.1)
    for _ in range(3):
        branch(torch.rand(4, 3, 32, 32)).square().mean().backward()
        optimizer.step()
    return branch


def test_brightness_and_colour_have_no_effect_even_after_training(trained):
    flat = torch.rand(2, 3, 1, 1).expand(2, 3, 40, 24)
    assert trained.residual(flat).abs().max() < 1e-5
    photo = torch.rand(2, 3, 40, 24) / 2
    torch.testing.assert_close(trained.residual(photo + 0.4), trained.residual(photo), atol=1e-5, rtol=0)


def test_a_linear_ramp_gives_no_residual_and_noise_does():
    torch.manual_seed(0)
    branch = NoiseResidual(filters=3)
    ramp = torch.linspace(0.2, 0.8, 64).expand(1, 3, 64, 64)
    inner = (..., slice(2, -2), slice(2, -2))
    for_ramp = branch.residual(ramp)[inner].abs().mean()
    noise = 4 / 255 * torch.randn(1, 3, 64, 64)
    assert branch.residual(ramp + noise)[inner].abs().mean() > 10 * for_ramp


def test_stronger_noise_gives_a_stronger_response_of_every_filter():
    branch = NoiseResidual(filters=3)
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) / 255
    levels = [branch.residual(0.5 + sigma * noise).abs().mean((0, 2, 3)) for sigma in (1, 2, 8)]
    torch.testing.assert_close(levels[1], 2 * levels[0], rtol=1e-3, atol=0)
    assert (levels[2] > levels[1]).all()


def test_features_have_stride_eight():
    assert NoiseResidual(3)(torch.rand(2, 3, 96, 72)).shape == (2, WIDTH, 12, 9)
