"""Label Studio: tasks to import there, and what it exports as JSON and as JSON-MIN.

Boxes are shares of the image in percent. Of several annotations of one task that were not skipped, the one changed last
counts. A task that was skipped, or not opened, is not taken for an image without a box, and predictions that no person
submitted do not count. Polygons become the box around them; rotated boxes and images, brush strokes, ellipses and
points are refused.

Images are found by ``file_name``, which tasks written here carry, else by the path in their address:
``/data/local-files/?d=set/a.jpg`` (local storage), ``s3://…/a.jpg``, or ``/data/upload/3/1a2b3c4d-a.jpg``, where Label
Studio put eight digits before the name of an uploaded file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import msgspec

from boxpromptiml.annotations.drawn import Corners, Drawings, DrawnBox, DrawnImage, around, parse_json
from boxpromptiml.images import IMAGE_SUFFIXES
from boxpromptiml.provenance import write_json
from boxpromptiml.records import ImageRecord

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value={label}/>'
    "</RectangleLabels></View>"
)
"""Labelling configuration that tasks written here fit."""


class _Region(msgspec.Struct):
    """What was drawn; JSON-MIN has the size of the image in it."""

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
    radiusX: float | None = None  # noqa: N815 - the tool's name
    rle: Any = None
    original_width: int | None = None
    original_height: int | None = None
    image_rotation: float | None = None


class _Result(msgspec.Struct):
    value: _Region = msgspec.field(default_factory=_Region)
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
    """Read an export, JSON or JSON-MIN.

    Raises:
        AnnotationError: the file is missing or no list of tasks.
    """
    rows = parse_json(path, list[dict[str, Any]])
    whole = any("data" in row for row in rows)
    images, problems = [], []
    for row in rows if whole else _newest(rows):
        names = _names(row.get("data") or {} if whole else row) or (f"task {row.get('id')}",)
        image = _from_task(row, names) if whole else _from_row(row, names)
        if image is not None:
            images.append(image)
        else:
            problems.append(f"{names[0]}: nobody has annotated it yet; submit it in Label Studio")
    return Drawings(path.parent, images, problems)


def write(out: Path, records: Sequence[ImageRecord], root: Path, label: str, address: str, prelabels: bool) -> None:
    """Write tasks with their boxes.

    Args:
        out: the JSON file.
        records: images and boxes.
        root: folder that image paths are relative to.
        label: name of the boxes' label.
        address: text before each relative path.
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
    write_json(out, tasks)


def _newest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """JSON-MIN has a row for each annotation; of a task the one that was changed last."""
    newest: dict[str, dict[str, Any]] = {}
    for row in rows:
        key = str(row.get("id", _address(row)))
        if key not in newest or _changed(row) >= _changed(newest[key]):
            newest[key] = row
    return list(newest.values())


def _from_task(row: dict[str, Any], names: tuple[str, ...]) -> DrawnImage | None:
    """What was drawn in a task; None where nobody has opened it."""
    try:
        task = msgspec.convert(row, _Task)
    except msgspec.ValidationError as error:
        return DrawnImage(names, defect=f"its task is not laid out as expected: {error}; export it again")
    if not task.annotations:
        return None
    finished = [annotation for annotation in task.annotations if not annotation.was_cancelled]
    if not finished:
        return DrawnImage(names, defect="it was skipped in Label Studio; draw its boxes, or submit it without any")
    latest = max(finished, key=lambda annotation: annotation.updated_at or annotation.created_at or "")
    return _drawn(names, [_with_frame(result) for result in latest.result])


def _with_frame(result: _Result) -> _Region:
    """The region with the size and rotation of its image in it, as JSON-MIN has it."""
    return msgspec.structs.replace(
        result.value,
        original_width=result.original_width,
        original_height=result.original_height,
        image_rotation=result.image_rotation,
    )


def _from_row(row: dict[str, Any], names: tuple[str, ...]) -> DrawnImage | None:
    """As ``_from_task``, for JSON-MIN."""
    if "annotation_id" in row and row["annotation_id"] is None:
        return None
    lists = [v for v in row.values() if isinstance(v, list) and v and all(isinstance(entry, dict) for entry in v)]
    try:
        regions = [msgspec.convert(entry, _Region) for entries in lists for entry in entries]
    except msgspec.ValidationError as error:
        return DrawnImage(names, defect=f"its regions are not laid out as expected: {error}; export it again")
    return _drawn(names, regions)


def _drawn(names: tuple[str, ...], regions: list[_Region]) -> DrawnImage:
    boxes = []
    for region in regions:
        corners = _corners(region)
        if corners is not None:
            labels = (*region.rectanglelabels, *region.polygonlabels, *region.labels, *region.keypointlabels)
            boxes.append(DrawnBox(labels, corners))
    labelled = {box.corners for box in boxes if box.labels}  # <Rectangle> with <Labels> gives two regions for one box
    boxes = [box for box in boxes if box.labels or box.corners not in labelled]
    sizes = [(r.original_width, r.original_height) for r in regions if r.original_width and r.original_height]
    return DrawnImage(names, boxes, size=sizes[0] if sizes else None, shares=True)


def _corners(region: _Region) -> Corners | str | None:
    """Corners as shares of the image, a reason, or None for what was not drawn, such as a choice."""
    if region.image_rotation or region.rotation:
        what = "image" if region.image_rotation else "box"
        return f"it has a rotated {what}; turn it upright in Label Studio and draw again"
    if region.rle is not None or region.radiusX is not None or region.keypointlabels:
        return "it has a brush stroke, an ellipse or a point; draw a box instead"
    if region.points:
        x1, y1, x2, y2 = around(region.points)
    elif None not in (region.x, region.y, region.width, region.height):
        x1, y1 = region.x, region.y  # type: ignore[assignment]
        x2, y2 = x1 + region.width, y1 + region.height  # type: ignore[operator]
    else:
        return None
    return x1 / 100, y1 / 100, x2 / 100, y2 / 100


def _address(data: dict[str, Any]) -> str:
    """The value that looks like an image, ``image`` before others."""
    values = [data.get("image"), *data.values()]
    return next((v for v in values if isinstance(v, str) and _path(v).suffix.lower() in IMAGE_SUFFIXES), "")


def _path(address: str) -> PurePosixPath:
    _, local, rest = address.partition("?d=")
    try:
        return PurePosixPath(unquote(rest if local else urlsplit(address).path).lstrip("/"))
    except ValueError:  # no address after all, such as http://[
        return PurePosixPath()


def _names(data: dict[str, Any]) -> tuple[str, ...]:
    path = _path(_address(data))
    uploaded = re.fullmatch(r"[0-9a-f]{8}-(.+)", path.name)
    given = data.get("file_name")  # ours; Label Studio hands back what a task came with
    names = (given if isinstance(given, str) else "", path.as_posix() if path.name else "", uploaded and uploaded[1])
    return tuple(name for name in names if name)


def _changed(row: dict[str, Any]) -> str:
    return str(row.get("updated_at") or row.get("created_at") or "")
