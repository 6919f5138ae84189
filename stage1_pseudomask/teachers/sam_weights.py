"""Weight files of Segment Anything: download, verification, and construction of the network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from boxpromptiml.core.records import InputError
from boxpromptiml.runtime.provenance import file_sha256
from stage1_pseudomask.teachers.sam_resize import Variant

if TYPE_CHECKING:  # a slow import that a complete cache does not need
    from segment_anything.modeling import Sam

CHECKPOINT_VARIABLE = "BOXPROMPTIML_SAM_CHECKPOINT"
"""Environment variable that names a checkpoint file, for every variant except ``tiny``."""
BASE_URL = "https://dl.fbaipublicfiles.com/segment_anything/"
CHECKPOINTS: dict[Variant, tuple[str, str]] = {
    "vit_h": ("sam_vit_h_4b8939.pth", "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e"),
    "vit_l": ("sam_vit_l_0b3195.pth", "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622"),
    "vit_b": ("sam_vit_b_01ec64.pth", "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"),
    "tiny": ("tiny_sam.pth", "964b709a886914fd9977841db5fc36cbda53c8a4df55cdeea691fd3164511f79"),
}
"""File name and SHA-256 of the published weights, and of the ones that come with this package."""


class CheckpointError(InputError):
    """A weight file is missing or cannot be used. The message is one line that names it and the remedy."""


def named_by_user(variant: Variant, checkpoint: Path | None) -> Path | None:
    """Return the weight file named by the argument or the environment, or None for the published one."""
    named = None if variant == "tiny" else os.environ.get(CHECKPOINT_VARIABLE)
    return checkpoint or (Path(named) if named else None)


def sha256(variant: Variant, named: Path | None) -> str:
    """Return the SHA-256 of the file on disk, or of the published one that will be downloaded.

    Raises:
        CheckpointError: the named file does not exist.
    """
    return file_sha256(_existing(named)) if named else CHECKPOINTS[variant][1]


def load(variant: Variant, named: Path | None, download_folder: Path | None) -> Sam:
    """Load the network in evaluation mode on the CPU.

    Raises:
        CheckpointError: the weights are missing, damaged, or of another variant.
    """
    if named:
        return build(variant, _existing(named))
    return build(variant, packaged() if variant == "tiny" else download(variant, download_folder))


def packaged() -> Path:
    """Return the weight file of the ``tiny`` network.

    Raises:
        CheckpointError: it is missing or was changed.
    """
    name, wanted = CHECKPOINTS["tiny"]
    path = Path(__file__).with_name(name)
    if not path.is_file() or file_sha256(path) != wanted:
        raise CheckpointError(f"{path}: missing or changed; reinstall boxpromptiml")
    return path


def build(variant: Variant, path: Path) -> Sam:
    """Build the network with the weights of a file, in evaluation mode on the CPU.

    Raises:
        CheckpointError: the file does not hold weights of this variant.
    """
    import torch
    from segment_anything import sam_model_registry

    from stage1_pseudomask.teachers.tiny_sam import tiny_sam

    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        model = tiny_sam() if variant == "tiny" else sam_model_registry[variant]()
        model.load_state_dict(weights)
    except Exception as error:  # damaged files raise many different types
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path}: not the weights of SAM {variant} ({reason}); use a file for this variant, or delete it and "
            "run the command again to download it"
        ) from None
    return model


def download(variant: Variant, folder: Path | None = None, base_url: str = BASE_URL) -> Path:
    """Return the published weights from the download folder or, if absent, from the network; both are verified.

    Args:
        variant: size of the image encoder.
        folder: download folder; by default the user's cache folder.
        base_url: where they are published.

    Raises:
        CheckpointError: they are not available. The message says what is missing and where to put it.
    """
    import pooch

    name, sha256 = CHECKPOINTS[variant]
    folder = folder or Path(pooch.os_cache("boxpromptiml"))
    try:
        found = pooch.retrieve(base_url + name, f"sha256:{sha256}", fname=name, path=folder, progressbar=True)
    except (OSError, ValueError) as error:  # OSError: network failure or full disk; ValueError: wrong checksum
        reason = type(error).__name__ if isinstance(error, OSError) else "its checksum differs"
        raise CheckpointError(
            f"{folder / name}: the weights of SAM {variant} are missing and could not be downloaded ({reason}); "
            f"get {base_url + name} on a machine with network access and copy it there, or set "
            f"{CHECKPOINT_VARIABLE} to its path"
        ) from None
    return Path(found)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such checkpoint; correct teacher.init_args.checkpoint or {CHECKPOINT_VARIABLE}, or omit "
            "both to download it"
        )
    return path
