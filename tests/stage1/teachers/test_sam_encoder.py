"""``encode`` against the original ``forward`` of the encoder."""

from functools import partial

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from torch import nn

from stage1_pseudomask.teachers import sam_encoder
from stage1_pseudomask.teachers.sam_encoder import encode, multiply_adds


def encoder(grid, window, global_blocks=(1,), relative=0.5):
    """An encoder of two blocks with two heads over a grid × grid feature map, with random position embeddings."""
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
        if "pos" in name:  # initialized to zero, which would hide an error in positions
            nn.init.normal_(parameter, std=relative)
        elif "bias" in name:  # the value of padded window positions
            nn.init.normal_(parameter, std=0.5)
    return network


def assert_equal(network, device="cpu", **arguments):
    pixels = torch.randn(2, 3, network.img_size, network.img_size, device=device)
    with torch.inference_mode():
        torch.testing.assert_close(encode(network, pixels, **arguments), network(pixels), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("window", [4, 5, 7, 14], ids="window {}".format)
@pytest.mark.parametrize("grid", [8, 9, 16], ids="grid {}".format)
def test_fused_attention_equals_the_original_encoder(grid, window):
    assert_equal(encoder(grid, window))


def test_global_attention_only_and_windowed_attention_only():
    assert_equal(encoder(10, 4, global_blocks=(0, 1)))
    assert_equal(encoder(10, 4, global_blocks=()))


@pytest.mark.parametrize("limit", [1, 3_000, 10_000])
def test_the_memory_limit_for_position_biases_changes_nothing(monkeypatch, limit):
    monkeypatch.setitem(sam_encoder.BIAS_BYTES, "cpu", limit)
    assert_equal(encoder(9, 4))


def test_the_original_kernel_is_the_encoder_itself():
    assert_equal(encoder(8, 3), kernel="shipped")


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_gives_the_same_features():
    assert_equal(encoder(8, 5), kernel="flex")


def test_compiled_blocks_give_the_same_features(monkeypatch):
    """Tests only the graphs traced by torch.compile; generating machine code takes a minute and is torch's part."""
    sam_encoder._around.cache_clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    assert_equal(encoder(8, 5), compiled=True)
    sam_encoder._around.cache_clear()


@pytest.mark.parametrize("arguments", [{"kernel": "flex"}, {"compiled": True}], ids=["flex", "compiled"])
def test_compiled_kernels_on_a_gpu_give_the_same_features(arguments):
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


def test_macs_agree_with_an_independent_counter():
    counter = pytest.importorskip("fvcore.nn").FlopCountAnalysis
    network = encoder(8, 4)
    counted = counter(network, torch.zeros(1, 3, 128, 128)).unsupported_ops_warnings(False).by_operator()
    matrices = sum(counted[name] for name in ("linear", "conv", "matmul"))
    assert multiply_adds(network) == pytest.approx(matrices, rel=0.01)
