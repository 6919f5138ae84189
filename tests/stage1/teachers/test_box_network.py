"""The network of the box segmenter, with random weights."""

import torch

from stage1_pseudomask.teachers.box_network import BoxNetwork, place


def test_logits_have_the_size_of_the_crops():
    torch.manual_seed(0)
    network = BoxNetwork().eval()
    crops, boxes = torch.rand(2, 3, 64, 64), torch.tensor([[0.2, 0.2, 0.8, 0.8], [0.0, 0.1, 1.0, 0.9]])
    with torch.inference_mode():
        both = network(crops, boxes)
        assert both.shape == (2, 1, 64, 64)
        torch.testing.assert_close(network(crops[1:], boxes[1:]), both[1:], atol=1e-4, rtol=1e-4)
        assert not torch.allclose(network(crops[:1], boxes[1:]), both[:1], atol=1e-4)  # the box matters


def test_the_place_is_relative_to_the_box():
    across, down, depth = place(torch.tensor([[0.25, 0.25, 0.75, 0.75]]), torch.zeros(1, 1, 8, 8))[0]
    assert across[0].tolist() == [-1.5, -1.25, -0.75, -0.25, 0.25, 0.75, 1.25, 1.5]
    assert torch.equal(down, across.T)
    assert ((depth > 0).sum(), depth[3, 3].item()) == (16, 0.75)


def test_it_has_about_a_million_weights():
    assert 0.9e6 < sum(weight.numel() for weight in BoxNetwork().parameters()) < 1.2e6
