"""Image fingerprints, and the search for images that show the same photo.

Candidates are found by a perceptual hash (pHash: 64 bits of low frequencies) and confirmed by comparing thumbnails
block by block. The hash alone matches one in 35,000 pairs of different photos at 14 bits, which gives 140,000 false
alarms among 100,000 images. A forgery and its original differ in a few blocks and match in the others. The method is
ours.
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
"""Side of a thumbnail in pixels."""
BLOCKS = 4
"""Number of blocks along a side of a thumbnail."""
TEXTURE = 2.0
"""Standard deviation in grey levels from which on a block is textured."""
ALIKE, SURELY_ALIKE = 0.8, 0.9
"""Median block correlation from which on two thumbnails show the same photo; the second if more than `NEAR` bits
differ."""
NEAR = 10
"""Number of bits in which hashes of slightly cropped copies differ; those of forgeries differ in more."""
AT_ONCE = 1 << 13
"""Number of thumbnail pairs compared at a time."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Fingerprint of an image.

    Attributes:
        phash: 64-bit perceptual hash.
        mirrored: hash of the horizontally mirrored image.
        thumbnail: (SIDE, SIDE) uint8 grey, without keeping the aspect ratio.
    """

    phash: int
    mirrored: int
    thumbnail: NDArray[np.uint8]


def fingerprint(photo: Photo) -> Fingerprint:
    """Compute the fingerprint of an (H, W, 3) uint8 RGB photo of any size."""
    small = cv2.resize(photo, (4 * SIDE, 4 * SIDE), interpolation=cv2.INTER_AREA)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
    thumbnail = np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    return Fingerprint(_phash(grey), _phash(grey[:, ::-1]), thumbnail)


def look_alikes(fingerprints: Sequence[Fingerprint], limit: int, mirrored: bool) -> NDArray[np.int32]:
    """Group images that show the same photo; the relation is transitive.

    Args:
        fingerprints: fingerprints of the N images to group.
        limit: largest Hamming distance of two hashes.
        mirrored: also find mirrored copies.

    Returns:
        (N,) group index of each image.
    """
    from scipy.sparse import coo_array  # a slow import that --help does not need
    from scipy.sparse.csgraph import connected_components

    hashes = np.array([image.phash for image in fingerprints], np.uint64)
    flipped = np.array([image.mirrored for image in fingerprints], np.uint64)
    thumbnails = np.array([image.thumbnail for image in fingerprints], np.uint8).reshape(-1, SIDE, SIDE)
    upright, turned = _Looks(hashes, thumbnails), _Looks(flipped, thumbnails[:, :, ::-1])
    # Images with the same hash are linked in a chain and only one of them is compared with others: copies cost little.
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
    """Return (K,) median block correlations, -1 to 1, of two stacks of K thumbnails.

    Flat blocks are ignored. Thumbnails with fewer than four textured blocks cannot be compared and get 0.
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
    """Hashes (N,) and thumbnails (N, SIDE, SIDE) of images or of their mirror images."""

    hashes: Hashes
    thumbnails: NDArray[np.uint8]


def _confirmed(pairs: Pairs, looks: _Looks, target_looks: _Looks) -> Pairs:
    """Select from (K, 2) pairs those of different images that show the same photo."""
    alike = pairs[:, 0] != pairs[:, 1]
    for start in range(0, len(pairs), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        one, other = pairs[part].T
        bits = np.bitwise_count(looks.hashes[one] ^ target_looks.hashes[other])
        needed = np.where(bits > NEAR, SURELY_ALIKE, ALIKE)
        alike[part] &= agreement(looks.thumbnails[one], target_looks.thumbnails[other]) >= needed
    return pairs[alike]


def _blocks(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Split (K, SIDE, SIDE) into (K, BLOCKS², pixels), each block minus its mean."""
    side = SIDE // BLOCKS
    blocks = thumbnails.astype(np.float32).reshape(-1, BLOCKS, side, BLOCKS, side).swapaxes(2, 3)
    blocks = blocks.reshape(-1, BLOCKS**2, side**2)
    return blocks - blocks.mean(2, keepdims=True)


def _phash(grey: NDArray[np.uint8]) -> int:
    return int(str(imagehash.phash(Image.fromarray(grey))), 16)
