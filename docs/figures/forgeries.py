"""Forged photos for the figures, made from photos in the public domain (CC0) that scikit-image ships."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from boxpromptiml.images import Mask, Photo, read_photo
from boxpromptiml.synthesis.cutout import cut_out, laid_on, transformed
from boxpromptiml.synthesis.photos import SourcePhoto, packaged_photos

FOLDER = Path(__file__).parent
INK, RED = "#424242", "#e53935"


def source(scene: str) -> SourcePhoto:
    """A packaged photo by the name of its scene."""
    return next(photo for photo in packaged_photos() if photo.scene == scene)


def flying_saucer() -> tuple[Photo, Mask]:
    """A coffee cup on its saucer in the sky beside a rocket: a splice, (427, 640, 3), and its exact mask."""
    coffee, rocket = (read_photo(source(scene).path) for scene in ("coffee", "rocket"))
    region = np.zeros(coffee.shape[:2], np.uint8)
    cv2.ellipse(region, (277, 232), (203, 154), 0, 0, 360, 1, -1)  # the saucer
    cv2.ellipse(region, (290, 100), (118, 82), 0, 0, 360, 1, -1)  # the rim of the cup
    piece = transformed(cut_out(coffee, region > 0), 0.42, 8)
    content, mask = laid_on(rocket, piece, 110, 405)
    return np.where(mask[..., None], content, rocket), mask


def third_eye() -> tuple[Photo, Mask]:
    """A cat whose eye was copied to its forehead: a copy-move, (300, 451, 3), and its exact mask."""
    cat = read_photo(source("chelsea").path)
    region = np.zeros(cat.shape[:2], np.uint8)
    cv2.ellipse(region, (174, 114), (46, 38), 0, 0, 360, 1, -1)
    content, mask = laid_on(cat, cut_out(cat, region > 0), 12, 196)
    return np.where(mask[..., None], content, cat), mask


def show(axis: Axes, picture: np.ndarray, title: str = "", colours: str | None = None) -> None:
    """A picture without ticks; with the name of a colour map, an (H, W) map in [0, 1]."""
    axis.imshow(picture, cmap=colours, vmin=0, vmax=1)
    if title:
        axis.set_title(title, fontsize=10, color=INK)
    axis.axis("off")


def save(figure: Figure, name: str) -> None:
    """Write the figure beside this file."""
    figure.savefig(FOLDER / name, dpi=160, pil_kwargs={"quality": 88} if name.endswith(".jpg") else None)
    print(FOLDER / name)
