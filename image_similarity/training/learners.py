"""What is taught: a whole network on augmented views, or a linear head on the features of a frozen one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.networks.headed import HeadedNet, headed_config
from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import InvalidSetting
from image_similarity.training.augment import Augmentation, augment

BATCH = 32

# Zero would never learn: rows of zeros get no gradient from distances.
_FAINT = 0.1

# Views of each picture whose features are computed once for a head: one plain, two augmented, two disguised.
_VIEWS = 5
_DISGUISED = 3

Advanced = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes through the module at one step, with the teacher's vectors of the same views, if there is one."""

    inputs: Tensor
    taught: Tensor | None


class Learner(Protocol):
    """A module that is trained, and how its inputs are made."""

    module: nn.Module
    dim: int

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        """Return random views of the pictures; a picture that comes again is disguised."""

    def embed(self, inputs: Tensor) -> Tensor:
        """Return unit vectors (N, dim), with gradients."""

    def vectors(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return unit vectors (N, dim) of pictures as the model wants them, not augmented."""

    def result(self) -> tuple[nn.Module, ModelSpec]:
        """Return the finished network with what its card must say of it."""


class WholeLearner:
    """A network of which every layer learns.

    The statistics of its normalisation layers stay as they are unless the network begins from scratch: those of a few
    small batches are worse than those of the first training, and would make a view's vector depend on its batch.
    """

    def __init__(
        self,
        encoder: Encoder,
        views: NDArray[np.uint8],
        *,
        teacher: Encoder | None,
        frozen_statistics: bool,
    ) -> None:
        self.encoder = encoder
        self.module: nn.Module = encoder.network
        self.dim = encoder.spec.dim or 0
        self._views = torch.from_numpy(views)
        self._teacher = teacher
        self.module.requires_grad_(True)
        if isinstance(head := getattr(self.module, "scene_head", None), nn.Module):
            head.requires_grad_(False)  # no loss of ours reaches it
        self._frozen_statistics = frozen_statistics
        self._to_training()

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        """Return augmented, normalised pictures (N, 3, S, S)."""
        images = views_of(
            self._views[rows].to(self.encoder.device),
            self.encoder.spec.preprocess.size,
            generator,
            disguised=occurrences(rows) > 0,
        )
        taught = None if self._teacher is None else teach(self._teacher, images)
        return Batch(normalised(images, self.encoder.spec), taught)

    def embed(self, inputs: Tensor) -> Tensor:
        """Return unit vectors, centred as the encoder centres them."""
        output = self.module(inputs.contiguous(memory_format=torch.channels_last))
        embedding = output[0] if isinstance(output, tuple) else output
        vectors = functional.normalize(embedding.float(), dim=1)
        if self.encoder.spec.centre is None:
            return vectors
        centre = torch.tensor(self.encoder.spec.centre).to(vectors)
        return functional.normalize(vectors - centre, dim=1)

    def vectors(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the encoder gives: the figures are those of the finished model."""
        self.module.eval()
        found = encode(self.encoder, pixels)
        self._to_training()
        return found

    def result(self) -> tuple[nn.Module, ModelSpec]:
        """Return the network without scenes: their head no longer fits the features below it."""
        return self.module.eval(), replace(self.encoder.spec, scenes=())

    def _to_training(self) -> None:
        self.module.train()
        if self._frozen_statistics:
            for layer in self.module.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()


class HeadLearner:
    """A linear map on what a frozen network knows of each picture, computed once for a few views of it.

    A network that ends in a linear layer named `embedding` gets another such layer, on the same features; any other
    gets a head behind its embedding.
    """

    def __init__(
        self,
        encoder: Encoder,
        views: NDArray[np.uint8],
        pixels: NDArray[np.uint8],
        *,
        dim: int,
        seed: int,
        teacher: Encoder | None,
        advanced: Advanced,
    ) -> None:
        self.encoder = encoder
        self.dim = dim
        self._last = _last_layer(encoder)
        plain = torch.cat([features_of(encoder, self._last, each) for each in _blocks(pixels)])
        if dim > plain.shape[1]:
            raise InvalidSetting(
                f"A head of {dim} is longer than the {plain.shape[1]} features of {encoder.spec.name}"
            )
        self.module: nn.Module = start_head(plain, self._last, dim).to(encoder.device)
        self._features = torch.empty(len(plain), _VIEWS, plain.shape[1])
        self._features[:, 0] = plain
        self._taught = None
        if teacher is not None:
            self._taught = torch.empty(len(plain), _VIEWS, teacher.spec.dim or 0)
            self._taught[:, 0] = teach(teacher, _to_images(pixels))
        generator = torch.Generator().manual_seed(seed)
        size = encoder.spec.preprocess.size
        for start in range(0, len(views), BATCH):
            block = torch.from_numpy(views[start : start + BATCH]).to(encoder.device)
            rows = slice(start, start + len(block))
            for view in range(1, _VIEWS):
                disguised = torch.full((len(block),), view >= _DISGUISED)
                images = views_of(block, size, generator, disguised=disguised)
                self._features[rows, view] = features_of(encoder, self._last, to_pixels(images))
                if teacher is not None and self._taught is not None:
                    self._taught[rows, view] = teach(teacher, images).cpu()
            advanced(min(start + BATCH, len(views)), len(views))

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        """Return features (N, F) of one view of each row, of another one where a row comes again."""
        first = torch.randint(_VIEWS, (len(self._features),), generator=generator)
        view = (first[rows] + occurrences(rows)) % _VIEWS
        taught = None if self._taught is None else self._taught[rows, view].to(self.encoder.device)
        return Batch(self._features[rows, view].to(self.encoder.device), taught)

    def embed(self, inputs: Tensor) -> Tensor:
        """Return the head's unit vectors."""
        return functional.normalize(self.module(inputs).float(), dim=1)

    def vectors(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the head's unit vectors of plain pictures."""
        with torch.no_grad():
            parts = [
                self.embed(features_of(self.encoder, self._last, block).to(self.encoder.device))
                for block in _blocks(pixels)
            ]
        found: NDArray[np.float32] = torch.cat(parts).cpu().numpy()
        return found

    def result(self) -> tuple[nn.Module, ModelSpec]:
        """Return the network with its new end; scenes stay, as all below their head does."""
        spec, network = self.encoder.spec, self.encoder.network
        layer = f"a linear head of {self.dim} on {spec.layer}"[:200]
        spec = replace(spec, dim=self.dim, centre=None, layer=layer)
        if self._last is not None:
            network.embedding = self.module
            config: Mapping[str, Any] = {**spec.config, "dim": self.dim}
            return network.eval(), replace(spec, config=config)
        width = int(self._features.shape[2])
        headed = HeadedNet(network, width=width, dim=self.dim)
        headed.head.load_state_dict(self.module.state_dict())
        headed.to(self.encoder.device)
        return headed.eval(), replace(
            spec,
            architecture=f"headed/{spec.architecture}",
            config=headed_config(spec.config, width=width, dim=self.dim),
        )


def encode(
    encoder: Encoder,
    pixels: NDArray[np.uint8],
    *,
    advanced: Advanced = lambda done, total: None,
) -> NDArray[np.float32]:
    """Return an encoder's unit vectors (N, D) of uint8 pictures (N, S, S, 3), in batches."""
    vectors: list[NDArray[np.float32]] = []
    for block in _blocks(pixels):
        if (found := encoder.encode(block).vectors) is not None:
            vectors.append(found)
        advanced(min(BATCH * len(vectors), len(pixels)), len(pixels))
    return np.concatenate(vectors)


def occurrences(rows: Tensor) -> Tensor:
    """Return how often each row number came before in the batch, int64 (N,)."""
    same = rows[:, None] == rows[None, :]
    return same.tril(diagonal=-1).sum(dim=1)


def views_of(
    pictures: Tensor, size: int, generator: torch.Generator, *, disguised: Tensor
) -> Tensor:
    """Return augmented pictures, float32 (N, 3, size, size) in [0, 1], of uint8 (N, S, S, 3)."""
    # The compression works on blocks of 8 pixels; not every network's size is a multiple of that.
    side = -(-size // 8) * 8
    images = augment(pictures, side, generator, Augmentation(), disguised=disguised)
    return images[:, :, :size, :size]


def normalised(images: Tensor, spec: ModelSpec) -> Tensor:
    """Return pictures in [0, 1] as the network takes them."""
    mean = torch.tensor(spec.preprocess.mean).view(1, 3, 1, 1).to(images)
    std = torch.tensor(spec.preprocess.std).view(1, 3, 1, 1).to(images)
    return (images - mean) / std


def to_pixels(images: Tensor) -> NDArray[np.uint8]:
    """Return float pictures (N, 3, S, S) in [0, 1] as uint8 (N, S, S, 3)."""
    rounded = (images * 255).round().clamp(0, 255).byte()
    found: NDArray[np.uint8] = rounded.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return found


def _to_images(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def teach(teacher: Encoder, images: Tensor) -> Tensor:
    """Return the teacher's unit vectors of the very views, (N, 3, S, S) in [0, 1], that the learner sees."""
    size = teacher.spec.preprocess.size
    if images.shape[-1] != size:
        images = functional.interpolate(images, size=size, mode="bicubic", antialias=True)
    vectors = encode(teacher, to_pixels(images))
    return torch.from_numpy(np.nan_to_num(vectors)).to(images.device)


def features_of(encoder: Encoder, last: nn.Linear | None, pixels: NDArray[np.uint8]) -> Tensor:
    """Return what a head stands on, float32 (N, F) on the CPU: the last layer's input, or else the unit embedding."""
    if last is None:
        spec = replace(encoder.spec, centre=None)
        plain = Encoder(spec, encoder.info, encoder.network, device=encoder.device)
        return torch.from_numpy(encode(plain, pixels))
    caught: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0].float()))
    try:
        encoder.encode(pixels)
    finally:
        handle.remove()
    # A tensor made for inference cannot take part in a training; its copy can.
    return torch.from_numpy(caught[0].cpu().numpy().copy())


def start_head(features: Tensor, last: nn.Linear | None, dim: int) -> nn.Linear:
    """Return a head that begins as what there is already, cut down to its `dim` principal axes.

    Behind a network's own `last` layer these are the axes of its embeddings, so that a head as long as they are gives
    the same distances; what goes beyond their number are faint axes of the features. Without such a layer they are the
    axes of the features about their mean: those of a classifier all point one way.

    Args:
        features: float32 (N, F), what the head takes.
        last: the layer that the head replaces, or None.
        dim: length of the head's output, at most F.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        head = nn.Linear(features.shape[1], dim, bias=last is None or last.bias is not None)
        if last is None:
            middle = features.mean(dim=0)
            head.weight.copy_(principal_axes(features - middle)[:dim])
            head.bias.copy_(-head.weight @ middle)
            return head
        weight = last.weight.cpu()
        bias = torch.zeros(len(weight)) if last.bias is None else last.bias.cpu()
        axes = principal_axes(functional.normalize(features @ weight.T + bias, dim=1))[:dim]
        kept = len(axes)
        head.weight[:kept] = axes @ weight
        head.weight[kept:] = _FAINT * principal_axes(features)[: dim - kept]
        if head.bias is not None:
            head.bias.zero_()
            head.bias[:kept] = axes @ bias
    return head


def principal_axes(vectors: Tensor) -> Tensor:
    """Return the unit axes (D, D) of vectors (N, D) about the origin, that of the largest share first."""
    axes: Tensor = torch.linalg.eigh(vectors.T @ vectors).eigenvectors
    return axes.T.flip(0)


def _last_layer(encoder: Encoder) -> nn.Linear | None:
    """Return the layer that a head can replace: one whose output, of the length in the card, is the embedding."""
    last = getattr(encoder.network, "embedding", None)
    spec = encoder.spec
    is_last = isinstance(last, nn.Linear) and "dim" in spec.config and spec.centre is None
    return last if is_last else None


def _blocks(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(pixels), BATCH):
        yield pixels[start : start + BATCH]
