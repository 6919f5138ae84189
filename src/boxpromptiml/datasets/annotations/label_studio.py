"""Label Studio: export of tasks, and import of its JSON and JSON-MIN.

Coordinates are in percent of the image. If a task has several annotations, the last modified one that was not skipped
is used. Tasks that were skipped or never opened do not count as images without boxes, and predictions that nobody
submitted are ignored. Polygons are replaced by their bounding boxes; rotated boxes and images, brush strokes, ellipses
and points are rejected.

A task may show several images. A box belongs to the image whose field in the task's data equals its ``to_name`` and, if
the field is a list, to the index ``item_index``; if that is ambiguous, the task is rejected. Image fields without any
boxes in all tasks, such as originals shown for comparison, are ignored.

Images are identified by ``file_name``, if the task was written by this package, else by the path in their URL.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from boxpromptiml.core.boxes import Corners, around
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.datasets.annotations.drawn import Drawings, DrawnBox, DrawnImage, parse_json
from boxpromptiml.datasets.annotations.image_urls import Picture, names_in, pictures_in, task_names

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value={label}/>'
    "</RectangleLabels></View>"
)
"""Labelling configuration for tasks written by this package."""


class _Region(msgspec.Struct):
    """A drawn region; in JSON-MIN it includes the size of the image."""

    x: float | None = None
    y: float | None = None
    width: float | None = None
    height: float | None = None
    rotation: float | None = None
    points: list[tuple[float, float]] | None = None
    rectanglelabels: list[str] = []
    polygonlabels: list[str] = []
    labels: list[str] = []
    keypointlabels: list[str] = []
    radiusX: float | None = None  # noqa: N815 - Label Studio's name
    rle: Any = None
    imageDataURL: Any = None  # noqa: N815 - Label Studio's name for a bitmask
    vertices: Any = None
    sequence: Any = None
    original_width: int | None = None
    original_height: int | None = None
    image_rotation: float | None = None


class _Result(msgspec.Struct):
    value: _Region = msgspec.field(default_factory=_Region)
    to_name: str | None = None
    item_index: int | None = None
    original_width: int | None = None
    original_height: int | None = None
    image_rotation: float | None = None


class _Annotation(msgspec.Struct):
    result: list[_Result] = []
    was_cancelled: bool | None = False
    created_at: str | None = None
    updated_at: str | None = None


class _Task(msgspec.Struct):
    data: dict[str, Any]
    id: int | str | None = None
    annotations: list[_Annotation] = []


def read(path: Path) -> Drawings:
    """Read an export in JSON or JSON-MIN format.

    Raises:
        AnnotationError: the file is missing or not a list of tasks.
    """
    rows = parse_json(path, list[dict[str, Any]])
    whole = any("data" in row for row in rows)
    drawn: list[tuple[Picture | None, DrawnImage]] = []
    problems = []
    for row in rows if whole else _newest(rows):
        found = _from_task(row) if whole else _from_row(row)
        drawn += found
        if not found:
            name = task_names(row.get("data") or {} if whole else row, row.get("id"))[0]
            problems.append(f"{name}: not annotated yet; submit it in Label Studio")
    fields = {picture.field for picture, image in drawn if picture is not None and (image.boxes or image.defect)}
    bare = Counter(picture.field for picture, _ in drawn if picture is not None and picture.field not in fields)
    notes = [
        f"{path}: no box refers to the {count:,} images of {field!r}; they are skipped" for field, count in bare.items()
    ]
    images = [image for picture, image in drawn if picture is None or picture.field in fields]
    return Drawings(path.parent, images, problems, notes)


def exported(
    records: Sequence[ImageRecord], root: Path, label: str, address: str, prelabels: bool
) -> list[dict[str, Any]]:
    """Convert records to Label Studio tasks.

    Args:
        records: images and boxes.
        root: folder that image paths are relative to.
        label: label of the boxes.
        address: prefix of each relative path in the URL.
        prelabels: True for predictions that annotators correct, False for finished annotations.
    """
    tasks = []
    for record in records:
        results = []
        across, down = 100 / record.width, 100 / record.height
        for number, (x1, y1, x2, y2) in enumerate(record.boxes_xyxy.astype(float).tolist(), start=1):
            results.append(
                {
                    "id": f"{record.image_id}-{number}",
                    "type": "rectanglelabels",
                    "from_name": "label",
                    "to_name": "image",
                    "original_width": record.width,
                    "original_height": record.height,
                    "image_rotation": 0,
                    "value": {
                        "x": x1 * across,
                        "y": y1 * down,
                        "width": (x2 - x1) * across,
                        "height": (y2 - y1) * down,
                        "rotation": 0,
                        "rectanglelabels": [label],
                    },
                }
            )
        drawn = {"model_version": "boxpromptiml", "result": results} if prelabels else {"result": results}
        name = record.path.relative_to(root).as_posix()
        data = {"image": address + quote(name), "file_name": name}
        tasks.append({"data": data, "predictions" if prelabels else "annotations": [drawn]})
    return tasks


def _newest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep each task's last modified row; JSON-MIN has one row per annotation."""
    newest: dict[str, dict[str, Any]] = {}
    for row in rows:
        key = str(row.get("id", task_names(row, None)))
        if key not in newest or _changed(row) >= _changed(newest[key]):
            newest[key] = row
    return list(newest.values())


def _from_task(row: dict[str, Any]) -> list[tuple[Picture | None, DrawnImage]]:
    """Return a task's drawn images with the field that shows each (None for a single image); empty if never opened."""
    names = task_names(row.get("data") or {}, row.get("id"))
    try:
        task = msgspec.convert({"annotations": row.get("completions") or [], **row}, _Task)  # the name before 1.0
    except msgspec.ValidationError as error:
        return [(None, DrawnImage(names, defect=f"its task is not laid out as expected: {error}; export it again"))]
    if not task.annotations:
        return []
    finished = [annotation for annotation in task.annotations if not annotation.was_cancelled]
    if not finished:
        skipped = "it was skipped in Label Studio; draw its boxes, or submit it without any"
        return [(None, DrawnImage(names, defect=skipped))]
    latest = max(finished, key=lambda annotation: annotation.updated_at or annotation.created_at or "")
    pictures = pictures_in(task.data)
    drawn = [result for result in latest.result if _corners(_with_frame(result)) is not None]
    if len(pictures) > 1:
        return _shared_out(pictures, drawn)
    if len({result.to_name for result in drawn}) > 1:
        told = "its boxes belong to several images, but the task lists only one; create one task per image"
        return [(None, DrawnImage(names, defect=told))]
    return [(None, _drawn(names, [_with_frame(result) for result in drawn]))]


def _shared_out(pictures: list[Picture], results: list[_Result]) -> list[tuple[Picture | None, DrawnImage]]:
    """Distribute the boxes of a task over its images."""
    own: dict[Picture, list[_Region]] = {picture: [] for picture in pictures}
    defect = None
    for result in results:
        mine = [p for p in pictures if p.field == result.to_name] or pictures
        mine = [p for p in mine if p.place is None or p.place == result.item_index]
        if len(mine) == 1:
            own[mine[0]].append(_with_frame(result))
        else:
            defect = (
                f"its task shows {len(pictures)} images and does not say which of them a box of "
                f"{result.to_name!r} belongs to; create one task per image"
            )
    named = [(picture, names_in(picture.address) or (picture.address,)) for picture in pictures]
    return [
        (picture, DrawnImage(names, defect=defect) if defect else _drawn(names, own[picture]))
        for picture, names in named
    ]


def _with_frame(result: _Result) -> _Region:
    """Copy the size and rotation of the image into the region, where JSON-MIN has them."""
    return msgspec.structs.replace(
        result.value,
        original_width=result.original_width,
        original_height=result.original_height,
        image_rotation=result.image_rotation,
    )


def _from_row(row: dict[str, Any]) -> list[tuple[Picture | None, DrawnImage]]:
    """Do the same as ``_from_task`` for a row of JSON-MIN."""
    names = task_names(row, row.get("id"))
    if "annotation_id" in row and row["annotation_id"] is None:
        return []
    lists = [v for v in row.values() if isinstance(v, list) and v and all(isinstance(entry, dict) for entry in v)]
    try:
        regions = [msgspec.convert(entry, _Region) for entries in lists for entry in entries]
    except msgspec.ValidationError as error:
        return [(None, DrawnImage(names, defect=f"its regions are not laid out as expected: {error}; export it again"))]
    pictures = pictures_in(row)
    if len(pictures) > 1:
        defect = (
            f"JSON-MIN does not say which of {len(pictures)} images of the task its boxes belong to; export as JSON"
        )
        return [(None, DrawnImage(names_in(p.address) or names, defect=defect)) for p in pictures]
    return [(None, _drawn(names, regions))]


def _drawn(names: tuple[str, ...], regions: list[_Region]) -> DrawnImage:
    boxes = []
    for region in regions:
        corners = _corners(region)
        if corners is not None:
            labels = (*region.rectanglelabels, *region.polygonlabels, *region.labels, *region.keypointlabels)
            boxes.append(DrawnBox(labels, corners))
    labelled = {box.corners for box in boxes if box.labels}  # <Rectangle> with <Labels> yields two regions per box
    boxes = [box for box in boxes if box.labels or box.corners not in labelled]
    sizes = [(r.original_width, r.original_height) for r in regions if r.original_width and r.original_height]
    return DrawnImage(names, boxes, size=sizes[0] if sizes else None, shares=True)


def _corners(region: _Region) -> Corners | str | None:
    """Return the box (XYXY) relative to the image, why it is unusable, or None for other results such as a choice."""
    if region.image_rotation or region.rotation:
        what = "image" if region.image_rotation else "box"
        return f"it has a rotated {what}; redraw it upright in Label Studio"
    others = (region.rle, region.imageDataURL, region.vertices, region.sequence, region.radiusX)
    if region.keypointlabels or any(other is not None for other in others):
        return "it has a brush stroke, an ellipse, a point or a path; draw a box instead"
    if region.points:
        x1, y1, x2, y2 = around(region.points)
    elif None not in (region.x, region.y, region.width, region.height):
        x1, y1 = region.x, region.y  # type: ignore[assignment]
        x2, y2 = x1 + region.width, y1 + region.height  # type: ignore[operator]
    else:
        return None
    return x1 / 100, y1 / 100, x2 / 100, y2 / 100


def _changed(row: dict[str, Any]) -> str:
    return str(row.get("updated_at") or row.get("created_at") or "")
