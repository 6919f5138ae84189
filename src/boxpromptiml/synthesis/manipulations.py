"""Splices, copy-moves, removals and retouched regions, as pure functions of pixels and a random generator.

No function changes pixels outside its region, so the region is the exact mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.images import Mask, Photo
from boxpromptiml.synthesis.cutout import MARGIN, Cutout, cut_out, laid_on, transformed
from boxpromptiml.synthesis.recipe import Kind, Range, Recipe, log_uniform
from boxpromptiml.synthesis.region_shapes import geometric_region, random_region, segment
from boxpromptiml.synthesis.traces import leave_traces, match_colour, to_photo

ATTEMPTS = 8
"""Number of regions tried before the most visible one is used, and of positions tried before the farthest one is."""
OVERHANG = 0.15
"""How far a pasted piece may extend beyond the host's border, as a fraction of its own size."""
GEOMETRIC, BRIGHTER, SOFTENED = 0.4, 0.2, 0.3
"""Probabilities that a plain copy has a geometric outline, a different exposure, a soft edge."""
NUDGE = 8
"""Largest displacement of a retouched region in pixels."""
INPAINT_RADIUS = 3
"""Neighbourhood of OpenCV's inpainting in pixels."""
POISSON_EROSION = 3
"""Pixels by which OpenCV's seamlessClone erodes the given mask."""


@dataclass(frozen=True, slots=True)
class Forgery:
    """A forged photo, (H, W, 3) uint8 RGB, and its exact mask, (H, W) bool, never empty."""

    photo: Photo
    mask: Mask
    kind: Kind


def forge(kind: Kind, host: Photo, donor: Photo | Cutout | None, rng: np.random.Generator, recipe: Recipe) -> Forgery:
    """Forge one region, preferably a visible one: black pasted on black has no training value.

    Args:
        kind: kind of forgery.
        host: (H, W, 3) uint8 RGB.
        donor: source of a splice, a photo or an object; ignored by other kinds.
        rng: the only source of randomness.
        recipe: parameters of the forgery.

    Raises:
        ValueError: a splice without a donor.
    """
    best: tuple[float, Forgery] | None = None
    for _ in range(ATTEMPTS):
        if kind == "removal":
            forgery = removal(host, rng, recipe)
        elif kind == "copy_move":
            plain = recipe.plain_copies and rng.random() < recipe.plain_copies
            forgery = translated_copy(host, rng, recipe) if plain else copy_move(host, rng, recipe)
        elif kind == "retouch":
            forgery = retouch(host, rng, recipe)
        elif donor is not None:
            forgery = splice(host, donor, rng, recipe)
        else:
            raise ValueError("a splice needs a donor")
        change = float(np.abs(forgery.photo[forgery.mask].astype(np.int16) - host[forgery.mask]).mean())
        if best is None or change > best[0]:
            best = change, forgery
        if change >= recipe.visible:
            break
    assert best is not None  # ATTEMPTS is above zero
    return best[1]


def splice(host: Photo, donor: Photo | Cutout, rng: np.random.Generator, recipe: Recipe) -> Forgery:
    """Paste an object, or a region of another photo, with the traces of a different processing history."""
    if isinstance(donor, Cutout):
        piece = _sized(donor, host, rng, recipe)
    else:
        piece = cut_out(donor, region_of(donor, rng, recipe, recipe.area))
    piece = _fitting(_transformed(piece, rng, recipe), host)
    content = leave_traces(piece.photo, recipe.donor, rng)
    if rng.random() < recipe.colour_match:
        content = match_colour(content, piece.mask, host, rng.uniform(*recipe.colour_match_strength))
    piece = Cutout(content, piece.mask)
    top, left = _places(piece, host, rng)[0]
    return _pasted(host, piece, top, left, rng, recipe, "splice")


def copy_move(host: Photo, rng: np.random.Generator, recipe: Recipe) -> Forgery:
    """Paste a region of the photo elsewhere in it: whole-pixel shift, optionally scaled, rotated or mirrored."""
    region = region_of(host, rng, recipe, _halved(recipe.area))
    piece = _fitting(_transformed(cut_out(host, region), rng, recipe), host)
    source = np.array(cv2.boundingRect(region.astype(np.uint8)))[[1, 0]] - MARGIN
    places = _places(piece, host, rng)
    far = np.linalg.norm(places - source, axis=1) * rng.uniform(0.5, 1, len(places))
    top, left = places[int(np.argmax(far))]
    return _pasted(host, piece, top, left, rng, recipe, "copy_move")


def translated_copy(host: Photo, rng: np.random.Generator, recipe: Recipe) -> Forgery:
    """Paste a region of the photo elsewhere in it, shifted by whole pixels and otherwise hardly changed."""
    area = _halved(recipe.area)
    if rng.random() < GEOMETRIC:
        region = geometric_region(host.shape[0], host.shape[1], rng, *area)
    else:
        region = region_of(host, rng, recipe, area)
    piece = cut_out(host, region)
    source = np.array(cv2.boundingRect(region.astype(np.uint8)))[[1, 0]] - MARGIN
    places = _places(piece, host, rng)
    far = np.linalg.norm(places - source, axis=1) * rng.uniform(0.5, 1, len(places))
    content, pasted = laid_on(host, piece, *places[int(np.argmax(far))])
    if not pasted.any():
        content, pasted = laid_on(host, piece, -MARGIN, -MARGIN)
    if rng.random() < BRIGHTER:
        content = to_photo(content * rng.uniform(0.85, 1.15))
    if rng.random() < SOFTENED:
        soft = cv2.GaussianBlur(pasted.astype(np.float32), (0, 0), rng.uniform(0.5, 1.5))
        content = to_photo(host + np.minimum(soft, pasted)[..., None] * (content.astype(np.float32) - host))
    return Forgery(np.where(pasted[..., None], content, host), pasted, "copy_move")


def retouch(host: Photo, rng: np.random.Generator, recipe: Recipe) -> Forgery:
    """Change a region in place: its size, slightly its position, its exposure, sharpness and noise.

    Follows the object jitter of Web-IML (arXiv 2508.20987).
    """
    region = region_of(host, rng, recipe, _halved(recipe.area))
    piece = cut_out(host, region)
    corner = np.array(cv2.boundingRect(region.astype(np.uint8)))[[1, 0]] - MARGIN
    moved = _transformed(piece, rng, recipe)
    top, left = corner + (np.array(piece.mask.shape) - moved.mask.shape) // 2 + rng.integers(-NUDGE, NUDGE + 1, 2)
    piece = Cutout(leave_traces(moved.photo, recipe.donor, rng), moved.mask)
    return _pasted(host, piece, int(top), int(left), rng, recipe, "retouch")


def removal(host: Photo, rng: np.random.Generator, recipe: Recipe) -> Forgery:
    """Inpaint a region from its surroundings with one of OpenCV's methods (Telea, or Navier-Stokes)."""
    region = region_of(host, rng, recipe, _halved(recipe.area))
    method = (cv2.INPAINT_TELEA, cv2.INPAINT_NS)[rng.integers(2)]
    painted = cv2.inpaint(host, region.astype(np.uint8), INPAINT_RADIUS, method)
    return Forgery(np.where(region[..., None], painted, host).astype(np.uint8), region, "removal")


def region_of(photo: Photo, rng: np.random.Generator, recipe: Recipe, area: Range) -> Mask:
    """Choose a segment of the photo, with the recipe's probability and if one fits the area, else a random outline."""
    found = segment(photo, rng, *area) if rng.random() < recipe.segments else None
    return random_region(photo.shape[0], photo.shape[1], rng, *area) if found is None else found


def blended(host: Photo, content: Photo, region: Mask, rng: np.random.Generator, recipe: Recipe) -> Photo:
    """Blend content into the host inside the region: with a soft edge, in the gradient domain, or unchanged.

    A soft edge fades inwards, so that nothing outside the region changes.
    """
    draw = rng.random()
    if draw < recipe.feather:
        width = max(1, rng.uniform(*recipe.feather_width) * min(region.shape))
        depth = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 3)
        opacity = np.clip(depth / (width + 1), 0, 1)[..., None]
        content = to_photo(host + opacity * (content.astype(np.float32) - host))
    elif draw < recipe.feather + recipe.poisson:
        content = _poisson(host, content, region)
    return np.where(region[..., None], content, host)


def _poisson(host: Photo, content: Photo, region: Mask) -> Photo:
    border = 2 * POISSON_EROSION  # for the dilated mask and the border that seamlessClone needs
    around = ((border, border), (border, border), (0, 0))
    wide = cv2.dilate(np.pad(region.astype(np.uint8) * 255, border), np.ones((3, 3)), iterations=POISSON_EROSION)
    left, top, width, height = cv2.boundingRect(wide)
    mixed = cv2.seamlessClone(
        np.pad(content, around, mode="edge"),
        np.pad(host, around, mode="edge"),
        wide,
        (left + width // 2, top + height // 2),
        cv2.NORMAL_CLONE,
    )
    return np.asarray(mixed[border:-border, border:-border])


def _pasted(
    host: Photo, piece: Cutout, top: int, left: int, rng: np.random.Generator, recipe: Recipe, kind: Kind
) -> Forgery:
    content, region = laid_on(host, piece, top, left)
    if not region.any():  # only an empty corner of the piece overlaps the host
        content, region = laid_on(host, piece, -MARGIN, -MARGIN)
    return Forgery(blended(host, content, region, rng, recipe), region, kind)


def _transformed(piece: Cutout, rng: np.random.Generator, recipe: Recipe) -> Cutout:
    if rng.random() >= recipe.transform:
        return piece
    turn = rng.uniform(-recipe.rotation, recipe.rotation)
    return transformed(piece, log_uniform(rng, recipe.scale), turn, bool(rng.random() < recipe.flip))


def _sized(piece: Cutout, host: Photo, rng: np.random.Generator, recipe: Recipe) -> Cutout:
    """Scale an object to an area within the recipe's range, without enlarging it too much."""
    wanted = log_uniform(rng, recipe.area) * host[..., 0].size
    return transformed(piece, min(recipe.scale[1], float(np.sqrt(wanted / piece.mask.sum()))))


def _fitting(piece: Cutout, host: Photo) -> Cutout:
    """Shrink a piece that is larger than the host."""
    share = min(host.shape[0] / _extent(piece)[0], host.shape[1] / _extent(piece)[1])
    return piece if share >= 1 else transformed(piece, share)


def _places(piece: Cutout, host: Photo, rng: np.random.Generator) -> NDArray[np.int_]:
    """Draw (ATTEMPTS, 2) upper left corners ``y x`` of the piece, within the host except for the overhang."""
    overhang = OVERHANG * _extent(piece)
    room = np.maximum(host.shape[:2] - _extent(piece) + overhang, 0)
    return np.rint(rng.uniform(-overhang, room, (ATTEMPTS, 2))).astype(int) - MARGIN


def _extent(piece: Cutout) -> NDArray[np.int_]:
    """Return height and width without the margin."""
    return np.array(piece.mask.shape) - 2 * MARGIN


def _halved(area: Range) -> Range:
    return area[0], max(area[0], area[1] / 2)
