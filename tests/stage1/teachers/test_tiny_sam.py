"""The small network has every feature that complicates the acceleration of Segment Anything."""

from stage1_pseudomask.teachers.tiny_sam import tiny_sam


def test_it_has_padded_windows_global_attention_and_every_published_module():
    model = tiny_sam()
    windows = [block.window_size for block in model.image_encoder.blocks]
    grid = model.image_encoder.img_size // 16
    assert 0 in windows
    assert any(window and grid % window for window in windows)
    assert all(block.attn.use_rel_pos for block in model.image_encoder.blocks)
    assert model.mask_decoder.num_mask_tokens == 4
    assert not model.training
