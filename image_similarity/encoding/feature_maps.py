"""Maps of features: what a network says of each place of a picture, at one of its layers.

A map is what a module inside the network gives, float32 (N, C, H, W): C numbers for each of H x W cells. By default it
is the last one of the convolutional part, before any pooling of the whole picture:

| network | layer |
|---|---|
| resnet, also of Places365 | layer4 |
| vgg16, vgg19 | the last ReLU before the last pooling, features.29 and features.35: 14 x 14 cells at 224 pixels |
| inception_v3 | Mixed_7c |
| mobilenet, efficientnet, densenet, convnext | features |
| the built-in model's network | trunk |
| deepranking | convolutions; of Keras weights the last convolution, trunk.12 |
| timm | the last of those that timm itself names in its `feature_info` |
| headed | that of its backbone |

A vision transformer has tokens and no such map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from image_similarity.encoding.derived import is_derived
from image_similarity.encoding.networks.layers import End
from image_similarity.encoding.spec import ModelSpec
from image_similarity.encoding.torch_network import TorchNetwork, load_module
from image_similarity.encoding.weights import sha256_of
from image_similarity.errors import InvalidSetting, WeightsMissing

_FAMILIES = {
    "multiscale": "trunk",
    "deepranking": "convolutions",
    "keras": "trunk.12",
    "tiny": "pool",
}
# By the beginning of torchvision's name.
_TRUNKS = {
    "resnet": "layer4",
    "vgg16": "features.29",
    "vgg19": "features.35",
    "inception_v3": "Mixed_7c",
    "mobilenet": "features",
    "efficientnet": "features",
    "densenet": "features",
    "convnext": "features",
}
_NAMED = 12


class FeatureMaps(nn.Module):
    """A network up to one of its layers: normalised pictures (N, 3, S, S) to maps (N, C, H, W), float32."""

    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.network = network
        # The network may itself end at the same layer.
        self._end = End(network.get_submodule(layer), first=True)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the maps of pictures.

        Raises:
            ValueError: the layer gives none, or was not reached.
        """
        output = self._end.output(self.network, pictures)
        if output is None:
            raise ValueError("the network does not pass through it")
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise ValueError("its output is no map (N, C, H, W)")
        return output.float()


@dataclass(frozen=True, slots=True)
class Mapped:
    """A network that gives maps.

    `network` runs up to `layer`, its name inside the model's network. A map has `channels` numbers for each of `cells`
    places (rows, columns).
    """

    network: FeatureMaps
    layer: str
    channels: int
    cells: tuple[int, int]


def load_maps(spec: ModelSpec, layer: str | None, *, device: str) -> Mapped:
    """Load a model's network up to a layer, by default its last convolutional map, and try it on a black picture.

    Args:
        spec: the model, with its weights.
        layer: the layer's name, or the end of it; see `torch.nn.Module.named_modules`.
        device: "cpu" or "cuda:N".

    Raises:
        InvalidSetting: the model has no such layer, the layer gives no map, or none is known for the network.
        WeightsMissing, WeightsChanged, WeightsRefused: as for any model.
        OutOfMemory: the device does not hold it.
    """
    if is_derived(spec):
        raise InvalidSetting(
            f"{spec.name} goes on from another model and has no map of features",
            hint="name the model below it",
        )
    if spec.architecture == "onnx":
        raise InvalidSetting(
            f"{spec.name} is an .onnx file, whose layers cannot be reached",
            hint="choose a model that runs in torch",
        )
    if spec.weights is None or not spec.weights.is_file():
        raise WeightsMissing(f"The weights of {spec.name!r} are not there: {spec.weights}")
    sha256_of(spec.weights, expected=spec.weights_sha256)
    network = load_module(spec, spec.weights, device)
    name = _find(network, spec, layer)
    maps = FeatureMaps(network, name).eval()
    size = spec.preprocess.size
    black = np.zeros((1, size, size, 3), np.uint8)
    try:
        found, _ = TorchNetwork(maps, spec.preprocess, device).run(black)
    except ValueError as error:
        raise InvalidSetting(
            f"layer {name} of {spec.name} gives no map of features: {error}", hint=_HINT
        ) from error
    assert found is not None  # noqa: S101 - `forward` gives a tensor
    _, channels, rows, columns = found.shape
    return Mapped(maps, name, channels, (rows, columns))


_HINT = "name a convolutional layer with --layer"


def default_layer(architecture: str) -> str | None:
    """Return the layer of the last convolutional map of a network, or None if it has none or none is known."""
    family, _, trunk = architecture.partition("/")
    if family == "headed":
        return default_layer(trunk)
    if family in ("torchvision", "places365"):
        known = (layer for start, layer in _TRUNKS.items() if trunk.startswith(start))
        return next(known, None)
    return _FAMILIES.get(family)


def _find(network: nn.Module, spec: ModelSpec, layer: str | None) -> str:
    """Return the full name of a layer of the network."""
    wanted = layer or default_layer(spec.architecture) or _named_by_timm(network)
    if wanted is None:
        raise InvalidSetting(f"{spec.name} has no convolutional map that is known", hint=_HINT)
    names: list[str] = [name for name, _ in network.named_modules()]
    # The outermost: wrapped networks keep their layers' names behind a prefix.
    ends = sorted((n for n in names if n == wanted or n.endswith("." + wanted)), key=len)
    if not ends:
        some = [name for name in names if name and name.count(".") < 2][:_NAMED]
        raise InvalidSetting(
            f"{spec.name} has no layer {wanted}", hint=f"it has {', '.join(some)}, and more inside"
        )
    return ends[0]


def _named_by_timm(network: nn.Module) -> str | None:
    """Return the last of the layers whose maps a network of timm says it has."""
    for module in network.modules():
        said = getattr(module, "feature_info", None)
        if isinstance(said, list) and said and isinstance(said[-1], dict):
            return str(said[-1].get("module"))
    return None
