"""``encode`` against the encoder's own forward, in which nothing was changed."""

from functools import partial

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from torch import nn

from stage1_pseudomask.teachers import sam_encoder
from stage1_pseudomask.teachers.sam_encoder import encode, multiply_adds


def encoder(grid, window, global_blocks=(1,), relative=0.5):
    """Two blocks of two heads over grid × grid places, with positions that matter."""
    torch.manual_seed(0)
    network = ImageEncoderViT(
        img_size=16 * grid,
        embed_dim=32,
        depth=2,
        num_heads=2,
        mlp_ratio=2,
        out_chans=16,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=window,
        global_attn_indexes=global_blocks,
    ).eval()
    for name, parameter in network.named_parameters():
        if "pos" in name:  # published as zeros, which would hide a mistake in positions
            nn.init.normal_(parameter, std=relative)
        elif "bias" in name:  # which is what the padding of a window consists of
            nn.init.normal_(parameter, std=0.5)
    return network


def assert_equal(network, device="cpu", **arguments):
    pixels = torch.randn(2, 3, network.img_size, network.img_size, device=device)
    with torch.inference_mode():
        torch.testing.assert_close(encode(network, pixels, **arguments), network(pixels), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("window", [4, 5, 7, 14], ids="window {}".format)
@pytest.mark.parametrize("grid", [8, 9, 16], ids="grid {}".format)
def test_fused_attention_gives_what_the_shipped_encoder_gives(grid, window):
    assert_equal(encoder(grid, window))


def test_global_attention_alone_and_windows_alone():
    assert_equal(encoder(10, 4, global_blocks=(0, 1)))
    assert_equal(encoder(10, 4, global_blocks=()))


@pytest.mark.parametrize("limit", [1, 3_000, 10_000])
def test_the_pieces_in_which_it_is_computed_change_nothing(monkeypatch, limit):
    monkeypatch.setitem(sam_encoder.BIAS_BYTES, "cpu", limit)
    assert_equal(encoder(9, 4))


def test_the_shipped_kernel_is_the_encoder_itself():
    assert_equal(encoder(8, 3), kernel="shipped")


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_gives_the_same():
    assert_equal(encoder(8, 5), kernel="flex")


def test_compiled_blocks_give_the_same(monkeypatch):
    """The graphs that torch.compile traces; turning them into machine code takes a minute and is torch's business."""
    sam_encoder._around.cache_clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    assert_equal(encoder(8, 5), compiled=True)
    sam_encoder._around.cache_clear()


@pytest.mark.parametrize("arguments", [{"kernel": "flex"}, {"compiled": True}], ids=["flex", "compiled"])
def test_compiled_kernels_on_a_gpu_give_the_same(arguments):
    if not torch.cuda.is_available():
        pytest.skip("no GPU, and compiling for a CPU takes a minute")
    assert_equal(encoder(8, 5).cuda(), device="cuda", **arguments)


def test_half_precision_stays_close():
    network, pixels = encoder(9, 4, relative=0.1), torch.randn(1, 3, 144, 144)
    with torch.inference_mode():
        exact = network(pixels)
        with torch.autocast("cpu", torch.bfloat16):
            rough = encode(network, pixels).float()
    assert torch.corrcoef(torch.stack([exact.flatten(), rough.flatten()]))[0, 1] > 0.999


def test_multiply_adds_are_those_that_a_counter_finds():
    counter = pytest.importorskip("fvcore.nn").FlopCountAnalysis
    network = encoder(8, 4)
    counted = counter(network, torch.zeros(1, 3, 128, 128)).unsupported_ops_warnings(False).by_operator()
    matrices = sum(counted[name] for name in ("linear", "conv", "matmul"))
    assert multiply_adds(network) == pytest.approx(matrices, rel=0.01)
