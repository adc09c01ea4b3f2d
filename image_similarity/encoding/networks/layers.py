"""The output of any layer of a network as its embedding, pooled in one of three ways."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NoReturn

from torch import Tensor, nn

from image_similarity.encoding.pooling import POOLS, pool
from image_similarity.errors import WeightsRefused

_PREFIX = "whole."


class LayerNet(nn.Module):
    """A network that ends at one of its layers; what lies behind is never run.

    Args:
        network: takes float32 (N, 3, H, W).
        layer: a submodule by its dotted name, taken where it is run first; "" for the network's own output.
        how: the pooling, see `pooling.pool`.
        of: the network's name, for messages.
        channels_last: whether the layer gives maps (N, H, W, C).

    Raises:
        WeightsRefused: there is no such layer or pooling.
    """

    def __init__(
        self, network: nn.Module, layer: str, how: str, *, of: str, channels_last: bool = False
    ) -> None:
        super().__init__()
        if how not in POOLS:
            raise WeightsRefused(f"{of}: no pooling is called {how!r}; one of {', '.join(POOLS)}")
        layers = dict(network.named_modules())
        if layer not in layers:
            raise _no_layer(of, layer, list(layers)[1:])
        self.whole = network
        self._layer = layer
        self._how = how
        self._channels_last = channels_last
        self._end = End(layers[layer]) if layer else None

    def forward(self, pictures: Tensor) -> Tensor:
        """Return embeddings (N, D), not normalised, of normalised pictures (N, 3, H, W)."""
        output = self._end.output(self.whole, pictures) if self._end else self.whole(pictures)
        if output is None and self._end:
            raise RuntimeError(f"layer {self._layer!r} takes no part in the network's answer")
        if not isinstance(output, Tensor):
            raise RuntimeError(f"layer {self._layer!r} gives a {type(output).__name__}, no numbers")
        values: Tensor = pool(output, self._how, channels_last=self._channels_last)
        return values


class _Reached(Exception):
    """The chosen layer was run. As an exception it stops the network, in whichever thread runs it."""

    def __init__(self, end: End, output: Any) -> None:
        super().__init__()
        self.end = end
        self.output = output


class End:
    """The layer at which a network ends: what lies behind is not run.

    Args:
        layer: the submodule, taken where it is run first.
        first: whether it comes before an end that the network has at the same layer by itself.
    """

    def __init__(self, layer: nn.Module, *, first: bool = False) -> None:
        layer.register_forward_hook(self._reach, prepend=first)

    def output(self, network: nn.Module, pictures: Tensor) -> Any:
        """Return what the layer gives for pictures, or None if the network does not run it."""
        try:
            network(pictures)
        except _Reached as reached:
            if reached.end is not self:
                # Of a network around this one, or within it.
                raise
            return reached.output
        return None

    def _reach(self, _module: nn.Module, _inputs: Any, output: Any) -> NoReturn:
        raise _Reached(self, output)


def overlap(layer: str, part: str) -> bool:
    """Whether one of two layers, by their dotted names, is the other or a part of it."""
    return f"{layer}.".startswith(f"{part}.") or f"{part}.".startswith(f"{layer}.")


def under_whole(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of a network's file under the names that they have in a `LayerNet` of it."""
    return {key if key.startswith(_PREFIX) else _PREFIX + key: each for key, each in state.items()}


def _no_layer(of: str, layer: str, known: list[str]) -> WeightsRefused:
    near = difflib.get_close_matches(layer, known, n=4, cutoff=0.4)
    main = [name for name in known if "." not in name]
    listed = f"near it are {', '.join(near)}" if near else f"its parts are {', '.join(main)}"
    return WeightsRefused(
        f"{of} has no layer {layer!r}; {listed}",
        hint=f"Layers are named as in the network's code; its parts: {', '.join(main)}.",
    )
