"""Provenance of results (input hashes, machine, package versions) and writing of result files.

Result files follow the same rule as `run_folder` for folders: rewriting the same content is fine, different content is
rejected unless ``--overwrite`` is given.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from boxpromptiml.core.atomic_files import write_whole
from boxpromptiml.core.records import InputError

PACKAGES = ("torch", "lightning", "timm", "segment-anything", "transformers", "albumentations", "numpy", "h5py")


class OtherResultsError(InputError):
    """Different results already exist. The message says what differs, and the remedy."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def content_hash(values: dict[str, Any]) -> str:
    """Return 16 hexadecimal digits of the hash of a JSON-serializable mapping, independent of key order."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def environment() -> dict[str, str]:
    """Return the machine's properties and package versions. Imports torch only to name the accelerator."""
    import torch

    found = {"python": platform.python_version(), "system": platform.platform(), "cpus": str(os.cpu_count())}
    found["accelerator"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def command_line() -> str:
    """Return the running command, without the interpreter and the path of the program."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically."""
    write_whole(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    """Encode indented JSON as `write_json` writes it."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_results(contents: Mapping[Path, bytes], overwrite: bool = False) -> None:
    """Write several result files in order, or none of them. Files that already have the content are kept.

    Args:
        contents: path → content.
        overwrite: replace files with different content, and print their names.

    Raises:
        OtherResultsError: a file has different content and ``overwrite`` is False.
    """
    left = {path: content for path, content in contents.items() if not is_written(path, content, overwrite)}
    for path, content in left.items():
        if path.exists():
            print(f"replaced: {path}")
        write_whole(path, content)


def is_written(path: Path, content: bytes, overwrite: bool = False) -> bool:
    """Return whether a file exists with this content.

    Raises:
        OtherResultsError: it exists with different content and ``overwrite`` is False.
    """
    if not path.exists():
        return False
    if path.read_bytes() == content:
        return True
    if not overwrite:
        raise OtherResultsError(
            f"{path}: already exists with other content; choose another file, or replace it with --overwrite"
        )
    return False
