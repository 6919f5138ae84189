"""Where a result comes from: hashes of its inputs, and the machine and versions that made it; and how it is written.

A result that is a file is held to the rule that `run_folder` holds for folders: the same content may be written again,
other content is refused, and ``--overwrite true`` replaces it.
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
    """There is what this run would replace. Its text is one line that says what differs, and the remedy."""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def content_hash(values: dict[str, Any]) -> str:
    """Hash of a JSON-serialisable mapping that does not depend on the order of its keys, 16 hexadecimal digits."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def environment() -> dict[str, str]:
    """Machine and package versions as a flat mapping. Loads torch only to name the accelerator."""
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
    """The command that is running, without the interpreter and without folders before the program's name."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON so that a reader sees the old file or the new one, never half of either."""
    write_whole(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    """Indented JSON, as `write_json` writes it."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_results(contents: Mapping[Path, bytes], overwrite: bool = False) -> None:
    """Write files that a user named, in their order, or none of them. What is there with the same content stays.

    Args:
        contents: of each file.
        overwrite: replace files of other content, and say which.

    Raises:
        OtherResultsError: there is one, and it is not to be replaced.
    """
    left = {path: content for path, content in contents.items() if not is_written(path, content, overwrite)}
    for path, content in left.items():
        if path.exists():
            print(f"replaced: {path}")
        write_whole(path, content)


def is_written(path: Path, content: bytes, overwrite: bool = False) -> bool:
    """Whether a file is there with this content.

    Raises:
        OtherResultsError: it is there with another, and is not to be replaced.
    """
    if not path.exists():
        return False
    if path.read_bytes() == content:
        return True
    if not overwrite:
        raise OtherResultsError(
            f"{path}: is there with other content; name another file, or replace it with --overwrite true"
        )
    return False
