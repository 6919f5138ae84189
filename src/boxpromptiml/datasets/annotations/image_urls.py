"""Image URLs in Label Studio tasks, and the file names they may refer to.

URLs have the form ``/data/local-files/?d=set/a.jpg`` (local storage), ``s3://…/a.jpg``, or
``/data/upload/3/1a2b3c4d-a.jpg``, where Label Studio prefixes an uploaded file with eight hexadecimal digits.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from boxpromptiml.images import IMAGE_SUFFIXES

UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")
"""Name of an uploaded file; the group is its original name."""


class Picture(NamedTuple):
    """An image shown by a task: its field in the data, its index if the field is a list, and its URL."""

    field: str
    place: int | None
    address: str


def pictures_in(data: dict[str, Any]) -> list[Picture]:
    """Return the images shown by a task: strings and lists of strings that look like image URLs."""
    if isinstance(data.get("file_name"), str) and "image" in data:  # a task written by this package
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
    """Return the URL of a task's image, preferring the field ``image``."""
    pictures = [picture for picture in pictures_in(data) if _is_image(picture.address)]
    first = sorted(pictures, key=lambda picture: picture.field != "image")[:1]
    return first[0].address if first else ""


def _path(address: str) -> PurePosixPath:
    _, local, rest = address.partition("?d=")
    try:
        return PurePosixPath(unquote(rest if local else urlsplit(address).path).lstrip("/"))
    except ValueError:  # not a URL, such as http://[
        return PurePosixPath()


def task_names(data: dict[str, Any], task: Any) -> tuple[str, ...]:
    """Return possible names of a task's image, the best first: our ``file_name`` if present, then those in the URL."""
    given = data.get("file_name")  # written by us; Label Studio returns it unchanged
    names = (given if isinstance(given, str) else "", *names_in(_address(data)))
    return tuple(name for name in names if name) or (f"task {task}",)


def names_in(address: str) -> tuple[str, ...]:
    """Return the relative paths that a URL may refer to; empty if it contains no path."""
    path = _path(address)
    uploaded = UPLOADED.fullmatch(path.name)
    return tuple(name for name in (path.as_posix() if path.name else "", uploaded and uploaded[1]) if name)
