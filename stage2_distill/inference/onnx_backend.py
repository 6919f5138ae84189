"""A student's network in ONNX Runtime, which is faster than PyTorch on a CPU."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pooch
import torch
from torch import Tensor, nn

from boxpromptiml.core.atomic_files import write_whole
from boxpromptiml.core.records import InputError
from stage2_distill.inference.onnx_conversion import TOLERANCE, convert_to_onnx, export_program, require_onnx

OUTPUTS = ("probability", "score")


class OnnxNetwork:
    """A network from images to probabilities and scores in ONNX Runtime on the CPU, with torch's number of threads.

    Args:
        content: bytes of an ONNX file.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._sessions: dict[int, Any] = {}  # by number of threads, which is fixed for a session
        self._lock = Lock()

    @classmethod
    def of(cls, network: nn.Module, side: int, name: str, folder: Path | None = None) -> OnnxNetwork:
        """Convert a network, which takes half a minute, or load it from the cache.

        Args:
            network: maps images (B, 3, side, side) to probabilities (B, 1, side, side) and scores (B,); on the CPU, in
                evaluation mode.
            side: side of the images in pixels.
            name: name under which the conversion is cached; other weights need another name.
            folder: folder of the cache; by default in the user's cache folder. If it is read-only, the network is
                converted each time.

        Raises:
            InputError: packages are missing, or the network cannot be converted with the same results.
        """
        require_onnx()
        folder = folder or Path(pooch.os_cache("boxpromptiml")) / "onnx"
        path = folder / f"{name}-{'-'.join(OUTPUTS)}-torch-{torch.__version__}.onnx"
        with suppress(Exception):  # a missing file, or a damaged one, for which ONNX Runtime raises many types
            cached = cls(path.read_bytes())
            cached._session()
            return cached
        print("converting the student to ONNX, which takes half a minute")
        content = _converted(network, side)
        converted = cls(content)
        _compare(network, converted, side)
        try:
            write_whole(path, content)
        except OSError as error:
            print(f"{path}: the converted student cannot be saved ({error.strerror})")
        return converted

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, 3, H, W) in [0, 1] at the student's size to probabilities (B, 1, H, W) and scores (B,).

        All tensors are on the CPU.
        """
        probability, score = self._session().run(None, {"image": image.numpy(force=True)})
        return torch.from_numpy(probability), torch.from_numpy(score)

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxNetwork:
        return self  # immutable, and sessions cannot be copied

    def _session(self) -> Any:
        import onnxruntime

        threads = torch.get_num_threads()
        with self._lock:
            if threads not in self._sessions:
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = threads
                providers = ["CPUExecutionProvider"]
                self._sessions[threads] = onnxruntime.InferenceSession(self._content, options, providers=providers)
            return self._sessions[threads]


def _converted(network: nn.Module, side: int) -> bytes:
    images = torch.zeros(2, 3, side, side)
    try:
        model = convert_to_onnx(export_program(network, images, ["batch"]), ["image"], OUTPUTS).model_proto
    except Exception as error:  # torch and onnxscript raise many types
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"the student cannot be converted to ONNX ({reason}); use the backend torch") from None
    return bytes(model.SerializeToString())


def _compare(network: nn.Module, converted: OnnxNetwork, side: int) -> None:
    noise = torch.from_numpy(np.random.default_rng(0).random((2, 3, side, side), np.float32))
    with torch.inference_mode():
        outputs = zip(network(noise), converted(noise), strict=True)
        difference = max((ours - theirs).abs().max().item() for ours, theirs in outputs)
    if not difference <= TOLERANCE:
        raise InputError(
            f"in ONNX Runtime the student's probabilities differ by {difference:.2g}, more than {TOLERANCE:g}; "
            "use the backend torch"
        )
