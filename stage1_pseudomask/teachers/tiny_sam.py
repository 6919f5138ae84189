"""A network of Segment Anything's shape with four hundred thousand weights: to rehearse and test stage one without SAM.

It is made of ``segment_anything``'s own classes, with windows that need padding, global attention and every head. Its
weights come with this package, so that ``variant: tiny`` runs anywhere, masks are real shapes, and the fast path can be
compared with ``SamPredictor`` on something else than noise. On 18 forgeries of photos that it never saw it has IoU .46
with the truth, and the loose box .36. ``tiny_sam_training`` made them.
"""

from __future__ import annotations

from functools import partial

from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

from stage1_pseudomask.teachers.sam_resize import SIDES

SIDE = SIDES["tiny"]
PATCH = 16
WIDTH = 64


def tiny_sam() -> Sam:
    """The network with random weights, in evaluation mode."""
    grid = SIDE // PATCH
    encoder = ImageEncoderViT(
        img_size=SIDE,
        patch_size=PATCH,
        embed_dim=WIDTH,
        depth=4,
        num_heads=4,
        mlp_ratio=2,
        out_chans=WIDTH,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=7,
        global_attn_indexes=(1, 3),
    )
    prompts = PromptEncoder(WIDTH, (grid, grid), (SIDE, SIDE), mask_in_chans=16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=WIDTH, num_heads=4, mlp_dim=128)
    decoder = MaskDecoder(transformer_dim=WIDTH, transformer=transformer, iou_head_depth=2, iou_head_hidden_dim=64)
    return Sam(encoder, prompts, decoder, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]).eval()
