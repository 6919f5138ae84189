"""Which images a task of Label Studio shows, and what they may be called.

``/data/local-files/?d=set/a.jpg`` (local storage), ``s3://…/a.jpg``, or ``/data/upload/3/1a2b3c4d-a.jpg``, where Label
Studio put eight digits before the name of an uploaded file.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from boxpromptiml.images import IMAGE_SUFFIXES

UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")
"""The name of an uploaded file."""


class Picture(NamedTuple):
    """One image that a task shows: its field in the data, its place where the field is a list, and its address."""

    field: str
    place: int | None
    address: str


def pictures_in(data: dict[str, Any]) -> list[Picture]:
    """The images that a task shows: values and lists of values that look like one."""
    if isinstance(data.get("file_name"), str) and "image" in data:  # ours
        return [Picture("image", None, str(data["image"]))]
    pictures = []
    for field, value in data.items():
        if _is_image(value) or (field == "image" and isinstance(value, str)):
            pictures.append(Picture(field, None, value))
        elif isinstance(value, list) and value and all(_is_image(entry) for entry in value):
            pictures += [Picture(field, place, entry) for place, entry in enumerate(value)]
    return pictures


def _is_image(value: Any) -> bool:
    return isinstance(value, str) and _path(value).suffix.lower() in IMAGE_SUFFIXES


def _address(data: dict[str, Any]) -> str:
    """The address of a task's image, ``image`` before others."""
    pictures = [picture for picture in pictures_in(data) if _is_image(picture.address)]
    first = sorted(pictures, key=lambda picture: picture.field != "image")[:1]
    return first[0].address if first else ""


def _path(address: str) -> PurePosixPath:
    _, local, rest = address.partition("?d=")
    try:
        return PurePosixPath(unquote(rest if local else urlsplit(address).path).lstrip("/"))
    except ValueError:  # no address after all, such as http://[
        return PurePosixPath()


def task_names(data: dict[str, Any], task: Any) -> tuple[str, ...]:
    """Names of a task's image, the most telling first: ``file_name``, which tasks written here carry, goes before."""
    given = data.get("file_name")  # ours; Label Studio hands back what a task came with
    names = (given if isinstance(given, str) else "", *names_in(_address(data)))
    return tuple(name for name in names if name) or (f"task {task}",)


def names_in(address: str) -> tuple[str, ...]:
    """Relative paths that an address may mean; none where it holds no path."""
    path = _path(address)
    uploaded = UPLOADED.fullmatch(path.name)
    return tuple(name for name in (path.as_posix() if path.name else "", uploaded and uploaded[1]) if name)
