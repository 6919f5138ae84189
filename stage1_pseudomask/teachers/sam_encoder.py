"""The image encoder of Segment Anything with fused attention kernels.

``segment_anything`` materializes every attention matrix, adds relative positions to it twice and computes its softmax,
each in a separate pass over memory. ``encode`` computes the same from the unchanged modules and weights: the relative
positions are passed to a fused kernel as a bias, in chunks of limited size. It also skips most work on the padding of
windowed layers, whose queries, keys and values equal the layer's bias.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import ceil
from typing import Any, Literal

import torch
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn
from torch.nn import functional as F

Kernel = Literal["sdpa", "flex", "shipped"]
Attended = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
Attend = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float], Tensor]

BIAS_BYTES = {"cpu": 16 << 20}
"""Largest chunk of the bias in bytes. On a CPU it fits into the cache, which is a quarter faster than a single
chunk."""
BIAS_BYTES_ON_A_GPU = 1 << 30


def encode(encoder: ImageEncoderViT, pixels: Tensor, kernel: Kernel = "sdpa", compiled: bool = False) -> Tensor:
    """Compute ``encoder(pixels)`` faster.

    Args:
        encoder: frozen image encoder of Segment Anything, with relative positions.
        pixels: (B, 3, S, S) normalized and padded to the encoder's side S.
        kernel: ``sdpa`` for torch's scaled_dot_product_attention, ``flex`` for its flex_attention, which is compiled at
            the first call on a GPU and slow elsewhere, or ``shipped`` for the encoder's own forward.
        compiled: run everything around the attention through torch.compile, which takes part of a minute at the first
            call.

    Returns:
        (B, 256, S / 16, S / 16) features, for the published architectures.
    """
    if kernel == "shipped":
        return encoder(pixels)
    attend = _flex if kernel == "flex" else _sdpa
    before, after = _around(compiled)
    tokens = encoder.patch_embed(pixels)
    if encoder.pos_embed is not None:
        tokens = tokens + encoder.pos_embed
    for block in encoder.blocks:
        q, k, v, from_rows, from_columns = before(block, tokens)
        tokens = after(block, tokens, attend(q, k, v, from_rows, from_columns, block.attn.scale))
    with torch.autocast(pixels.device.type, enabled=False):  # see sam.py
        return encoder.neck(tokens.float().permute(0, 3, 1, 2))


def multiply_adds(encoder: ImageEncoderViT) -> int:
    """Count the multiply-adds per image of matrix products and convolutions, without padding of windows."""
    grid = encoder.img_size // encoder.patch_embed.proj.stride[0]
    linear = sum(layer.weight.numel() for layer in encoder.modules() if isinstance(layer, nn.Linear | nn.Conv2d))
    keys = sum((block.window_size or grid) ** 2 for block in encoder.blocks)
    return grid**2 * (linear + 2 * keys * encoder.patch_embed.proj.out_channels)


@cache
def _around(compiled: bool) -> tuple[Callable[[Any, Tensor], Attended], Callable[[Any, Tensor, Tensor], Tensor]]:
    """Return the parts of a block before and after attention; the attention kernels do not benefit from compilation."""
    return (torch.compile(_before), torch.compile(_after)) if compiled else (_before, _after)


def _before(block: Any, tokens: Tensor) -> Attended:
    """Compute the inputs of the attention from (B, H, W, C) tokens, grouped by window and head."""
    layer, (batch, height, width, _) = block.attn, tokens.shape
    rows, columns, down, across = _windows(block, height, width)
    qkv = layer.qkv(block.norm1(tokens))
    if (down * rows, across * columns) != (height, width):
        padded = layer.qkv.bias.to(qkv.dtype).expand(batch, down * rows, across * columns, -1).clone()
        padded[:, :height, :width] = qkv
        qkv = padded
    windows = qkv.view(batch, down, rows, across, columns, 3, layer.num_heads, -1).permute(5, 0, 1, 3, 6, 2, 4, 7)
    q, k, v = windows.reshape(3, batch * down * across * layer.num_heads, rows, columns, -1).unbind(0)
    from_rows = torch.einsum("ghwc,hkc->ghwk", q, _by_distance(layer.rel_pos_h, rows))
    from_columns = torch.einsum("ghwc,wkc->ghwk", q, _by_distance(layer.rel_pos_w, columns))
    return q.flatten(1, 2), k.flatten(1, 2), v.flatten(1, 2), from_rows.flatten(1, 2), from_columns.flatten(1, 2)


def _after(block: Any, tokens: Tensor, attended: Tensor) -> Tensor:
    """Compute the block's output, (B, H, W, C), from its input tokens and the output of the attention."""
    layer, (batch, height, width, _) = block.attn, tokens.shape
    rows, columns, down, across = _windows(block, height, width)
    grouped = attended.view(batch, down, across, layer.num_heads, rows, columns, -1)
    image = grouped.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, down * rows, across * columns, -1)
    # Contiguous, otherwise the linear layer copies its weights once per row of the image.
    tokens = tokens + layer.proj(image[:, :height, :width].contiguous())
    return tokens + block.mlp(block.norm2(tokens))


def _windows(block: Any, height: int, width: int) -> tuple[int, int, int, int]:
    """Return rows and columns of a window, and the number of windows vertically and horizontally (1 if global)."""
    rows, columns = block.window_size or height, block.window_size or width
    return rows, columns, ceil(height / rows), ceil(width / columns)


def _by_distance(table: Tensor, size: int) -> Tensor:
    """Gather the rows of a (2 size - 1, C) table by the distance of query and key: (size, size, C)."""
    place = torch.arange(size, device=table.device)
    return table[place[:, None] - place + size - 1]


def _sdpa(q: Tensor, k: Tensor, v: Tensor, from_rows: Tensor, from_columns: Tensor, scale: float) -> Tensor:
    """Attention with decomposed relative positions.

    Args:
        q: (G, N, D), a group per head and window, N positions each.
        k: likewise.
        v: likewise.
        from_rows: (G, N, R), bias of each query for each of the R rows of keys.
        from_columns: (G, N, N / R), bias for each column.
        scale: factor on the products of q and k.
    """
    groups, places, _ = q.shape
    limit = BIAS_BYTES.get(q.device.type, BIAS_BYTES_ON_A_GPU) // q.element_size()
    groups_at_once, queries_at_once = max(1, limit // places**2), max(1, min(places, limit // places))
    attended = torch.empty_like(q)
    # One buffer for all chunks: clearing newly allocated memory would take as long as filling it. The row stride is a
    # multiple of eight, otherwise GPU kernels would copy the bias.
    reused = q.new_empty(min(groups, groups_at_once), queries_at_once, 8 * ceil(places / 8))[..., :places]
    for first in range(0, groups, groups_at_once):
        some = slice(first, first + groups_at_once)
        for start in range(0, places, queries_at_once):
            part = some, slice(start, start + queries_at_once)
            by_row, by_column = from_rows[part], from_columns[part]
            bias = reused[: len(by_row), : by_row.shape[1]]
            apart = bias.unflatten(2, (by_row.shape[2], by_column.shape[2]))
            torch.add(by_row[..., None], by_column[:, :, None], out=apart)
            attended[part] = _attend(q[part], k[some], v[some], bias, scale)
    return attended


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Attention of one chunk: (G, Q, D), (G, K, D), (G, K, D) and (G, Q, K), which is overwritten, to (G, Q, D)."""
    if q.dtype == torch.bfloat16 and q.device.type == "cpu" and bias.is_contiguous():
        # The fused kernel of torch 2.15 takes 1.7 times as long there.
        with torch.autocast("cpu", enabled=False):
            return bias.baddbmm_(q, k.transpose(1, 2), alpha=scale).softmax(2) @ v
    # The kernels expect four dimensions: groups are passed as heads.
    return F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=bias[None], scale=scale)[0]


def _flex(q: Tensor, k: Tensor, v: Tensor, from_rows: Tensor, from_columns: Tensor, scale: float) -> Tensor:
    """Do the same as `_sdpa` without materializing the bias."""
    columns = from_columns.shape[-1]

    def with_bias(score: Tensor, _: Tensor, group: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + from_rows[group, query, key // columns] + from_columns[group, query, key % columns]

    attention = _flex_attention(q.is_cuda)
    return attention(q[None], k[None], v[None], score_mod=with_bias, scale=scale)[0]


@cache
def _flex_attention(compiled: bool) -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    if not compiled:  # torch 2.15 generates invalid C++ for these biases on a CPU
        return flex_attention
    return torch.compile(flex_attention)
