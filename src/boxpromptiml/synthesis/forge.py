"""Splices, copy-moves and removals as pure functions: pixels and a random generator in, a forged photo out.

Every function leaves the pixels outside its region as they are, so the region is the exact mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.images import Mask, Photo, jpeg_round_trip, resize_photo
from boxpromptiml.synthesis.regions import random_region

Kind = Literal["splice", "copy_move", "removal"]
ATTEMPTS = 8
"""Regions tried before the most visible one is taken."""


@dataclass(frozen=True)  # without slots: jsonargparse reads defaults from __dict__
class Recipe:
    """What forged regions look like (ours). Shares and probabilities lie in [0, 1].

    Attributes:
        area_min: smallest region as a share of the image.
        area_max: largest region of splices; copy-moves and removals go up to half of it, where they stay believable.
        soft_edge: probability that an edge is feathered instead of hard.
        soft_edge_width: widest feathered edge as a share of the image's side.
        transform: probability that a copied region is scaled, turned or mirrored.
        host_noise: probability that the host carries sensor noise, with a standard deviation of 2 to 6 grey levels.
            Inpainting and resampling smooth it away, as they do in real forgeries.
        host_jpeg: probability that the host was once a JPEG of quality 75 to 95.
        donor_jpeg: probability that the donor was once a JPEG of quality 50 to 90.
        donor_resample: probability that the donor was once shrunk to 40 to 90 % and enlarged again.
        donor_noise: probability that the donor is noisier, with a standard deviation of 2 to 8 grey levels.
        donor_brightness: probability that the donor is up to 25 % brighter or darker, with a slight colour cast.
        visible: smallest mean change inside the region in grey levels; a region that changes less is drawn anew.
    """

    area_min: float = 0.02
    area_max: float = 0.40
    soft_edge: float = 0.5
    soft_edge_width: float = 0.02
    transform: float = 0.5
    host_noise: float = 0.5
    host_jpeg: float = 0.5
    donor_jpeg: float = 0.5
    donor_resample: float = 0.3
    donor_noise: float = 0.3
    donor_brightness: float = 0.3
    visible: float = 8.0


@dataclass(frozen=True, slots=True)
class Forgery:
    """A forged photo, (H, W, 3) uint8 RGB, and its exact mask, (H, W) bool."""

    photo: Photo
    mask: Mask
    kind: Kind


def random_crop(photo: Photo, size: int, rng: np.random.Generator) -> Photo:
    """A square from a random place, at a random scale and sometimes mirrored, resized to ``size`` pixels.

    The square's side lies between 75 % of ``size``, so that little is enlarged, and the photo's shorter side.
    """
    height, width = photo.shape[:2]
    largest = min(height, width)
    smallest = min(largest, round(0.75 * size))
    side = round(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    square = resize_photo(photo[top : top + side, left : left + side], size, size)
    return np.ascontiguousarray(square[:, ::-1] if rng.random() < 0.5 else square)


def age_host(host: Photo, rng: np.random.Generator, recipe: Recipe) -> Photo:
    """The traces an untouched photo carries, each by its probability: sensor noise, then JPEG compression."""
    if rng.random() < recipe.host_noise:
        host = _to_photo(host + rng.normal(0, rng.uniform(2, 6), host.shape))
    return jpeg_round_trip(host, int(rng.integers(75, 96))) if rng.random() < recipe.host_jpeg else host


def age_donor(donor: Photo, rng: np.random.Generator, recipe: Recipe) -> Photo:
    """The traces that tell a donor from its host: resampling, noise, brightness and JPEG, each by its probability."""
    if rng.random() < recipe.donor_resample:
        height, width = donor.shape[:2]
        factor = rng.uniform(0.4, 0.9)
        donor = resize_photo(resize_photo(donor, round(width * factor), round(height * factor)), width, height)
    if rng.random() < recipe.donor_noise:
        donor = _to_photo(donor + rng.normal(0, rng.uniform(2, 8), donor.shape))
    if rng.random() < recipe.donor_brightness:
        donor = _to_photo(donor * (rng.uniform(0.75, 1.25) * rng.uniform(0.95, 1.05, 3)))
    if rng.random() < recipe.donor_jpeg:
        donor = jpeg_round_trip(donor, int(rng.integers(50, 91)))
    return donor


def splice(host: Photo, donor: Photo, region: Mask, rng: np.random.Generator, recipe: Recipe) -> Photo:
    """Paste the region of a donor of the same size into the host."""
    return _paste(host, age_donor(donor, rng, recipe), region, rng, recipe)


def copy_move(host: Photo, region: Mask, rng: np.random.Generator, recipe: Recipe) -> Photo:
    """Fill the region with another part of the same photo: shifted, and perhaps scaled, turned or mirrored."""
    height, width = region.shape
    matrix = np.eye(2)
    if rng.random() < recipe.transform:
        turned = cv2.getRotationMatrix2D((0, 0), rng.uniform(-30, 30), rng.uniform(0.75, 1.3))
        matrix = turned[:, :2] * np.array([rng.choice((-1, 1)), 1])
    box = cv2.boundingRect(region.astype(np.uint8))
    center = np.array([box[0] + box[2] / 2, box[1] + box[3] / 2])
    reach = np.abs(matrix) @ np.array([box[2], box[3]]) / 2  # half the extent of the place that is copied from
    room = np.maximum(np.array([width, height]) - 2 * reach, 0)
    sources = np.rint(reach + rng.uniform(0, 1, (ATTEMPTS, 2)) * room - center) + center  # whole pixels: exact copies
    source = sources[np.argmax(np.linalg.norm(sources - center, axis=1) * rng.uniform(0.5, 1, ATTEMPTS))]
    back = np.column_stack([matrix, source - matrix @ center])  # from a pixel of the result to where it comes from
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(host, back, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return _paste(host, np.asarray(moved, np.uint8), region, rng, recipe)


def removal(host: Photo, region: Mask, rng: np.random.Generator) -> Photo:
    """Paint the region over from its surroundings by one of OpenCV's two inpainting methods."""
    method = (cv2.INPAINT_TELEA, cv2.INPAINT_NS)[rng.integers(2)]
    painted = cv2.inpaint(host, region.astype(np.uint8), 3, method)
    return np.where(region[..., None], painted, host).astype(np.uint8)


def forge(kind: Kind, host: Photo, donor: Photo | None, rng: np.random.Generator, recipe: Recipe) -> Forgery:
    """Forge one region, visible if the photo allows it: black pasted on black teaches nobody anything.

    Args:
        kind: of forgery.
        host: (H, W, 3) uint8 RGB.
        donor: same shape as the host; splices need one, other kinds ignore it.
        rng: the only source of randomness.
        recipe: what the region looks like.

    Raises:
        ValueError: a splice without a donor.
    """
    return max(_attempts(kind, host, donor, rng, recipe), key=lambda attempt: attempt[0])[1]


def _attempts(
    kind: Kind, host: Photo, donor: Photo | None, rng: np.random.Generator, recipe: Recipe
) -> Iterator[tuple[float, Forgery]]:
    """Forgeries with their mean change in grey levels, up to the first that is visible."""
    largest = recipe.area_max if kind == "splice" else max(recipe.area_min, recipe.area_max / 2)
    height, width = host.shape[:2]
    for _ in range(ATTEMPTS):
        region = random_region(height, width, rng, recipe.area_min, largest)
        if kind == "copy_move":
            photo = copy_move(host, region, rng, recipe)
        elif kind == "removal":
            photo = removal(host, region, rng)
        elif donor is not None:
            photo = splice(host, donor, region, rng, recipe)
        else:
            raise ValueError("a splice needs a donor photo")
        change = float(np.abs(photo[region].astype(np.int16) - host[region]).mean())
        yield change, Forgery(photo, region, kind)
        if change >= recipe.visible:
            return


def _paste(host: Photo, content: Photo, region: Mask, rng: np.random.Generator, recipe: Recipe) -> Photo:
    """Blend content into the region; a soft edge fades inwards, so that nothing outside the region changes."""
    if rng.random() >= recipe.soft_edge:
        return np.where(region[..., None], content, host)
    width = rng.uniform(1, max(1, recipe.soft_edge_width * min(region.shape)))
    depth = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 3)
    opacity = np.clip(depth / (width + 1), 0, 1)[..., None]
    return _to_photo(host + opacity * (content.astype(np.float32) - host))


def _to_photo(values: NDArray[np.floating]) -> Photo:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
