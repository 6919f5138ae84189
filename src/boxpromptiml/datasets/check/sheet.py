"""Contact sheet of the findings: photos with boxes and masks, duplicates side by side."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from boxpromptiml.core import boxes
from boxpromptiml.core.atomic_files import atomic_path
from boxpromptiml.datasets.check.findings import CODES, Report
from boxpromptiml.datasets.check.measure import Entry
from boxpromptiml.images import Photo, read_photo, read_record, resize_mask, visualization

COLUMNS = 6
"""Even, so that the images of a pair stay side by side."""
SIDE = 2.0
"""Width of a column and maximum height of an image, in inches."""
GAP = 0.1
"""Gap between images, in inches."""
TITLE = 0.34
"""Height of a section's title, in inches."""
CAPTION = 0.52
"""Height of a caption, in inches."""
PIXELS = 256
"""Longer side of an image in pixels."""
COLOURS = {"error": "#c1121f", "warning": "#a15c00", "note": "#495057"}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Tile:
    """An image with its caption."""

    photo: Photo
    caption: str

    @property
    def height(self) -> float:
        """Height in inches at the width of its column, limited for tall images."""
        height, width = self.photo.shape[:2]
        return min(SIDE, (SIDE - GAP) * height / width)


@dataclass(frozen=True, slots=True)
class _Section:
    """A title with rows of images."""

    title: str
    colour: str
    rows: list[list[_Tile]]

    @property
    def height(self) -> float:
        return TITLE + sum(_height(row) for row in self.rows)


def draw_sheet(report: Report, entries: Sequence[Entry], shown: int, path: Path) -> None:
    """Save a PNG with some of the sound images, followed by each kind of finding.

    Args:
        report: the findings.
        entries: the checked images.
        shown: maximum number of images, or pairs of images, per kind.
        path: the PNG to write.
    """
    from matplotlib.figure import Figure  # a slow import that most commands do not need

    sections = [_sound(report, entries, shown), *_found(report, entries, shown)]
    width, height = COLUMNS * SIDE, sum(section.height for section in sections)
    figure = Figure(figsize=(width, height), dpi=100)
    top = height
    for section in sections:
        style = {"color": section.colour, "fontsize": 10, "weight": "bold"}
        figure.text(GAP / 2 / width, (top - GAP) / height, section.title, style, va="top", parse_math=False)
        top -= TITLE
        for row in section.rows:
            bottom = top - _height(row) + CAPTION
            for column, tile in enumerate(row):
                left = column * SIDE + GAP / 2
                place = (left / width, bottom / height, (SIDE - GAP) / width, tile.height / height)
                axes = figure.add_axes(place, anchor="S")
                axes.imshow(tile.photo)
                axes.set_axis_off()
                below = (bottom - GAP / 2) / height
                figure.text(left / width, below, tile.caption, fontsize=7, va="top", parse_math=False)
            top = bottom - CAPTION
    with atomic_path(path) as partial:
        figure.savefig(partial, format=path.suffix[1:])


def _height(row: Sequence[_Tile]) -> float:
    return max(tile.height for tile in row) + CAPTION


def _in_rows(tiles: Sequence[_Tile]) -> list[list[_Tile]]:
    return [list(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]


def _sound(report: Report, entries: Sequence[Entry], shown: int) -> _Section:
    aside = {manifest: set(ids) for manifest, ids in report.set_aside.items()}
    sound = [entry for entry in entries if entry.record.image_id not in aside.get(str(entry.manifest), ())]
    title = f"{report.verdict}: {report.images:,} images. Some of the valid ones, with boxes (yellow) and masks (red):"
    return _Section(title, "#000000", _in_rows([_tile(entry) for entry in _evenly(sound, shown)]))


def _found(report: Report, entries: Sequence[Entry], shown: int) -> list[_Section]:
    readable = [entry for entry in entries if entry.facts.sha256]
    by_id: dict[tuple[str, int | None], Entry] = {
        (str(entry.manifest), entry.record.image_id): entry for entry in readable
    }
    by_file = {str(entry.record.path): entry for entry in readable}
    sections = []
    for code, count in report.counts.items():
        findings = _evenly([finding for finding in report.findings if finding.code == code], shown)
        tiles = []
        for finding in findings:
            text = finding.text.split(f" as {finding.other}")[0] if finding.other else finding.text
            if entry := by_id.get((finding.manifest, finding.image_id)):
                tiles.append(_tile(entry, text))
            if entry := by_file.get(finding.other):
                tiles.append(_tile(entry))
        title = f"{count:,} × {code}: {CODES[code].meaning}"
        if findings and not tiles:
            title += f" ({', '.join(Path(finding.file).name or finding.split for finding in findings)})"
        sections.append(_Section(title, COLOURS[CODES[code].severity], _in_rows(tiles)))
    return sections


def _tile(entry: Entry, text: str = "") -> _Tile:
    """Draw an image with its boxes and mask, and compose its caption."""
    record, facts = entry.record, entry.facts
    whole, mask = (read_photo(record.path), None) if facts.mask_share is None else read_record(record)
    photo = visualization.thumbnail(whole, PIXELS)
    height, width = photo.shape[:2]
    if mask is not None:
        photo = visualization.overlay(photo, resize_mask(mask, width, height).astype(np.float32), opacity=0.35)
    boxes_xyxy = boxes.scale(record.boxes_xyxy, width / record.width, height / record.height)
    name = record.path.name if len(record.path.name) <= 26 else f"{record.path.name[:10]}…{record.path.name[-15:]}"
    without_folders = re.sub(r"[^\s(]*/", "", text)
    lines = [f"{record.split}: {name}", *textwrap.wrap(without_folders, 36)[:2]]
    return _Tile(visualization.with_boxes(photo, boxes_xyxy), "\n".join(lines))


def _evenly(items: Sequence[T], count: int) -> list[T]:
    """Select at most ``count`` items, evenly spaced."""
    places = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).astype(int))
    return [items[place] for place in places]
