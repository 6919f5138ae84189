"""A miniature Segment Anything with 400,000 weights, for running and testing stage one without SAM.

It consists of ``segment_anything``'s own classes, including windows that need padding, global attention and every head.
The weights come with this package, so that ``variant: tiny`` runs anywhere, masks have realistic shapes, and the fast
path can be compared with ``SamPredictor`` on meaningful input. On 18 forgeries of unseen photos its IoU with the ground
truth is .46, and that of the loose boxes .36. ``tiny_sam_training`` trained it.
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
    """Create the network with random weights, in evaluation mode."""
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
