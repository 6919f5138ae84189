"""What an image looks like in a few bytes, and the search for images that look alike.

Candidates are found by a perceptual hash (pHash: 64 bits of low frequencies) and confirmed by a thumbnail, block by
block. The hash alone would be wrong about one pair of different photos in 35,000 at 14 bits, which makes 140,000 false
alarms among 100,000 images. A forgery and its twin differ in a few blocks and agree in the others. Ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boxpromptiml.datasets.check.hamming import Hashes, Pairs, near_pairs
from boxpromptiml.images import Photo

SIDE = 16
"""Side of the thumbnail in pixels."""
BLOCKS = 4
"""Blocks along a side of the thumbnail."""
TEXTURE = 2.0
"""Standard deviation in grey levels from where a block shows anything."""
ALIKE, SURELY_ALIKE = 0.8, 0.9
"""Median correlation of the blocks from where two thumbnails show the same photo; the second beyond `NEAR` bits."""
NEAR = 10
"""Bits in which the hashes of copies differ that were cropped by a few percent; forgeries differ in more."""
AT_ONCE = 1 << 13
"""Pairs of thumbnails that are compared at a time."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What an image looks like.

    Attributes:
        phash: 64 bits.
        mirrored: the same of the image mirrored left to right.
        thumbnail: (SIDE, SIDE) uint8 grey, stretched to a square.
    """

    phash: int
    mirrored: int
    thumbnail: NDArray[np.uint8]


def fingerprint(photo: Photo) -> Fingerprint:
    """Fingerprint of an (H, W, 3) uint8 RGB photo of any size."""
    small = cv2.resize(photo, (4 * SIDE, 4 * SIDE), interpolation=cv2.INTER_AREA)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
    thumbnail = np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    return Fingerprint(_phash(grey), _phash(grey[:, ::-1]), thumbnail)


def look_alikes(fingerprints: Sequence[Fingerprint], limit: int, mirrored: bool) -> NDArray[np.int32]:
    """Sort images into groups that show the same photo, also through a third image.

    Args:
        fingerprints: of N images.
        limit: bits in which two hashes may differ.
        mirrored: also find mirrored copies.

    Returns:
        (N,) number of each image's group.
    """
    from scipy.sparse import coo_array  # slow to import, and no help needs it
    from scipy.sparse.csgraph import connected_components

    hashes = np.array([image.phash for image in fingerprints], np.uint64)
    flipped = np.array([image.mirrored for image in fingerprints], np.uint64)
    thumbnails = np.array([image.thumbnail for image in fingerprints], np.uint8).reshape(-1, SIDE, SIDE)
    upright, turned = _Looks(hashes, thumbnails), _Looks(flipped, thumbnails[:, :, ::-1])
    # One image stands for all of the same hash, each of which is linked to the next: copies are cheap in any number.
    unique, shown_by, member = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(member, kind="stable")
    next_in_line = np.stack([order[:-1], order[1:]], axis=1)[np.diff(member[order]) == 0]
    links = [
        _confirmed(next_in_line, upright, upright),
        _confirmed(shown_by[near_pairs(unique, unique, limit)], upright, upright),
    ]
    if mirrored:
        links.append(_confirmed(shown_by[near_pairs(unique, flipped[shown_by], limit)], upright, turned))
    one, other = np.concatenate(links).T
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(hashes), len(hashes)))
    groups: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return groups


def agreement(thumbnails: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How far two stacks of K thumbnails show the same: (K,) correlations of the median block, -1 to 1.

    Flat blocks do not count, and thumbnails with fewer than four others cannot be told apart: 0.
    """
    ours, theirs = _blocks(thumbnails), _blocks(others)
    norms = [np.linalg.norm(blocks, axis=2) for blocks in (ours, theirs)]
    pixels = (SIDE // BLOCKS) ** 2
    textured = np.maximum(*norms) >= TEXTURE * pixels**0.5
    correlation = (ours * theirs).sum(2) / np.maximum(norms[0] * norms[1], 1e-6)
    enough = textured.sum(1) >= 4
    result = np.zeros(len(ours), np.float32)
    result[enough] = np.nanmedian(np.where(textured, correlation, np.nan)[enough], axis=1)
    return result


@dataclass(frozen=True, slots=True)
class _Looks:
    """Hashes (N,) and thumbnails (N, SIDE, SIDE) of images, or of their mirror images."""

    hashes: Hashes
    thumbnails: NDArray[np.uint8]


def _confirmed(pairs: Pairs, looks: _Looks, target_looks: _Looks) -> Pairs:
    """Those of (K, 2) pairs that are different images of the same photo."""
    alike = pairs[:, 0] != pairs[:, 1]
    for start in range(0, len(pairs), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        one, other = pairs[part].T
        bits = np.bitwise_count(looks.hashes[one] ^ target_looks.hashes[other])
        needed = np.where(bits > NEAR, SURELY_ALIKE, ALIKE)
        alike[part] &= agreement(looks.thumbnails[one], target_looks.thumbnails[other]) >= needed
    return pairs[alike]


def _blocks(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(K, SIDE, SIDE) to (K, BLOCKS², pixels), each block about its mean."""
    side = SIDE // BLOCKS
    blocks = thumbnails.astype(np.float32).reshape(-1, BLOCKS, side, BLOCKS, side).swapaxes(2, 3)
    blocks = blocks.reshape(-1, BLOCKS**2, side**2)
    return blocks - blocks.mean(2, keepdims=True)


def _phash(grey: NDArray[np.uint8]) -> int:
    return int(str(imagehash.phash(Image.fromarray(grey))), 16)
