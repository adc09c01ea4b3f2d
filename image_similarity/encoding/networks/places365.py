"""Scene classifiers of the Places365 project, from their checkpoints as published.

The checkpoints `resnet18_places365.pth.tar` and `resnet50_places365.pth.tar` hold a state dict of
torchvision's ResNet with 365 classes. They do not hold the names of the classes: these stand in
`categories_places365.txt`, which is looked for beside the checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from image_similarity.encoding.spec import ModelSpec
from image_similarity.encoding.torchvision_import import import_torchvision
from image_similarity.encoding.weights import load_state
from image_similarity.errors import WeightsRefused
from image_similarity.values import Preprocess

CLASSES = 365
CATEGORIES_FILE = "categories_places365.txt"

LICENCE = "CC BY (Places365 project, MIT CSAIL)"

# The project's first example cuts 224 out of a picture whose short side became 256, as here. Its
# later one squeezes the frame to 256 x 256 before the cut, which `Preprocess` cannot say; square
# pictures get the same input either way.
PREPROCESS = Preprocess(224, fit="crop", resize=256, interpolation="bilinear")

# (shape of the classifier, a layer that only this network has)
_SIGNS = {
    "resnet18": ((CLASSES, 512), "layer2.1.conv2.weight"),
    "resnet50": ((CLASSES, 2048), "layer3.5.conv3.weight"),
}


class Places365Net(nn.Module):
    """A ResNet whose pooled features and logits of 365 scenes both come out.

    The names of its weights are torchvision's, as in the checkpoints.
    """

    def __init__(self, trunk: str) -> None:
        """Make "resnet18" or "resnet50" with random weights."""
        super().__init__()
        network = getattr(import_torchvision().models, trunk)(weights=None, num_classes=CLASSES)
        for name, layer in network.named_children():
            self.add_module(name, layer)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, 512 or 2048) and logits (N, 365) of float32 (N, 3, H, W)."""
        values = pictures
        for name, layer in self.named_children():
            if name == "fc":
                features = values.flatten(start_dim=1)
                return features, layer(features)
            values = layer(values)
        raise AssertionError("a ResNet ends with its classifier")


def places365_spec(checkpoint: Path, categories: Path | None = None) -> ModelSpec:
    """Return the spec of a Places365 checkpoint, recognised by its arrays.

    Without `categories` the file beside the checkpoint is taken; without that the labels are
    "places365/000" to "places365/364", and `origin` says so.

    Raises:
        WeightsRefused: the file is no such checkpoint, or the list of names is not one of 365.
        OSError: a file cannot be read.
    """
    trunk = _recognise(load_state(checkpoint), checkpoint)
    listed = categories or checkpoint.with_name(CATEGORIES_FILE)
    if categories is not None or listed.is_file():
        scenes, source = _read_categories(listed), f"labels from {listed.name}"
    else:
        scenes = tuple(f"places365/{number:03d}" for number in range(CLASSES))
        source = f"labels are numbers, for want of {CATEGORIES_FILE} beside it"
    return ModelSpec(
        name=f"places365/{trunk}",
        architecture=f"places365/{trunk}",
        preprocess=PREPROCESS,
        layer="logits of 365 scenes",
        scenes=scenes,
        licence=LICENCE,
        origin=f"Places365 checkpoint {checkpoint.name}; {source}",
        weights=checkpoint,
    )


def _recognise(state: Mapping[str, Any], path: Path) -> str:
    """Return which network the arrays belong to."""
    head = state.get("fc.weight")
    for trunk, (shape, layer) in _SIGNS.items():
        if head is not None and tuple(head.shape) == shape and layer in state:
            return trunk
    raise WeightsRefused(
        f"{path} is no Places365 checkpoint of {' or '.join(_SIGNS)}, and carries no card.",
        hint=f"A scene model is 'builtin', such a checkpoint, or weights with a card {path}.json.",
    )


def _read_categories(path: Path) -> tuple[str, ...]:
    """Return the labels of `categories_places365.txt`: lines such as "/a/airfield 0", in order.

    "/a/apartment_building/outdoor 8" becomes "apartment_building/outdoor".
    """
    try:
        lines = path.read_text("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise WeightsRefused(f"{path} is no list of scenes: {error}") from error
    found = [re.fullmatch(r"/[a-z]/([!-~]{1,90}) (\d{1,3})\s*", line) for line in lines if line]
    pairs = {int(match[2]): match[1] for match in found if match}
    if len(found) != CLASSES or sorted(pairs) != list(range(CLASSES)):
        raise WeightsRefused(
            f"{path} is no list of {CLASSES} scenes.", hint="Expected are lines: /a/airfield 0"
        )
    return tuple(pairs[number] for number in range(CLASSES))
