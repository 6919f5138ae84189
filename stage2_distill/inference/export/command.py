"""The command ``boxpromptiml export``: a student as a single ONNX file or PyTorch exported program."""

from __future__ import annotations

import tempfile
from itertools import chain
from pathlib import Path

from boxpromptiml.core.records import InputError
from boxpromptiml.images import ImageError, Photo, read_photo
from boxpromptiml.runtime.provenance import write_results
from stage2_distill.inference import released
from stage2_distill.inference.onnx_conversion import TOLERANCE, require_onnx
from stage2_distill.inference.photo_paths import photo_names

MAX_CALIBRATION = 100
"""Maximum number of photos used to measure the activation ranges for int8."""


def export(out: Path, checkpoint: str = released.NAME, int8: Path | None = None, overwrite: bool = False) -> int:
    """Export a student as a single file for other programs, and compare it with `predict`.

    The file maps `photo`, (batch, height, width, 3) uint8 RGB of any size, to `probability`, (batch, height, width),
    and `score`, (batch); resizing and normalization are included. An ONNX file stores the student's threshold in its
    metadata.

    Args:
        out: file to write; .onnx for ONNX, .pt2 for `torch.export`.
        checkpoint: released for the student that comes with the package, a .ckpt file written by `boxpromptiml fit`, a
            saved student, or OWNER/NAME on the Hugging Face hub.
        int8: folder of representative photos, such as training photos, to measure activation ranges; the ONNX file then
            computes convolutions and matrix products in 8 bits.
        overwrite: replace an existing file with different content.

    Returns:
        0, or 3 if some of the representative photos were skipped because they cannot be read.

    Raises:
        InputError: the suffix is invalid, there is no student or no photo, the export's results differ, or a different
            file exists.
    """
    if out.suffix not in (".onnx", ".pt2") or (int8 and out.suffix != ".onnx"):
        raise InputError(f"{out}: unknown suffix; use .onnx (also with int8), or .pt2 for torch.export")
    import torch  # a slow import that --help does not need

    from stage2_distill.inference.export import student_program
    from stage2_distill.inference.localizer import load_named

    samples, set_aside = _samples(int8) if int8 else ([], [])
    localizer = load_named(checkpoint)
    network = student_program.PhotoToProbability(localizer).eval()
    if out.suffix == ".onnx":
        require_onnx()
    program = student_program.exported(network)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, out.name)
        if out.suffix == ".pt2":
            torch.export.save(program, written)
            run_exported = torch.export.load(written).module()
        else:
            student_program.write_onnx(program, localizer, written)
            if int8:
                student_program.quantize(written, samples)
            run_exported = student_program.onnx_session(written)
        content = written.read_bytes()
    agreement = student_program.compare(
        localizer, run_exported, chain(student_program.comparison_photos(localizer.student.image_size), samples[:4])
    )
    if not int8 and not agreement.difference <= TOLERANCE:
        raise InputError(
            f"{out}: probabilities differ from predict's by {agreement.difference:.2g}, more than {TOLERANCE:g}; "
            "this backbone cannot be exported"
        )
    write_results({out: content}, overwrite)
    for reason in set_aside:
        print(f"skipped: {reason}")
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB; {agreement}")
    return 3 if set_aside else 0


def _samples(folder: Path) -> tuple[list[Photo], list[str]]:
    """Read up to `MAX_CALIBRATION` evenly spaced photos; also return why some of them cannot be read."""
    files = list(photo_names([folder])[0])
    samples, set_aside = [], []
    for file in files[:: -(-len(files) // MAX_CALIBRATION)]:
        try:
            samples.append(read_photo(file))
        except ImageError as error:
            set_aside.append(str(error))
    if not samples:
        raise InputError(f"{folder}: no readable photo to measure ranges on ({set_aside[0]}); pass other photos")
    return samples, set_aside
